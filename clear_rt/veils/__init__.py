"""Semi-transparent boxes behind text, *veils*: what is behind one comes back by its own arithmetic.

In: a frame and its matte. `following` finds veils from frame to frame, `lifting` takes them off. Below: `look` asks
whether a veil ends here or there, by the lines of samples of `rim`; `blend` tells what it makes of a picture, `letters`
what is on it.
"""
