"""Policy `stream`: each window is denoised to its end before the next one is looked at, so the delay is one window.

The latents that a window shares with its predecessors are held: at every step they are set to (1 - sigma) held + sigma
noise, held being the blend of the earlier results, and after the last step the new result is faded in by the ramps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clear_rt.canvas import Array
from clear_rt.denoise_control import ControlFeed
from clear_rt.denoise_model import Sampler
from clear_rt.noise import Noise


def denoise_stream(control: Iterable[Array], noise: Noise, sampler: Sampler) -> Iterator[Array]:
    """As `denoise.denoise`, for `stream`: what the next window does not share comes before its control is pulled."""
    plan, canvas = sampler.plan, sampler.canvas
    feed = ControlFeed(control, plan, canvas)
    held: Array | None = None
    for i, window in enumerate(plan.windows):
        latents = feed.window(i)
        shape = (latents.shape[0], *latents.shape[2:])
        start = canvas.placed([noise(t, shape) for t in window])
        result = _sampled(sampler, i, sampler.model.control(latents), start, held)
        if held is not None:
            canvas.fade(result, held, i)
        done = plan.next_start(i) - window.start
        for k in range(done):
            yield canvas.latent(result, k)
        held = canvas.part(result, done, len(window))


def _sampled(sampler: Sampler, i: int, control: Array, noise: Array, held: Array | None) -> Array:
    """Window i [C, L, h, w] denoised from noise of that shape, its first latents led along what is held."""
    canvas, window_latents = sampler.canvas, len(sampler.plan.windows[i])
    latents = canvas.part(noise, 0, window_latents)
    for step in range(sampler.steps):
        if held is not None:
            canvas.hold(latents, held, noise, step)
        # A copy, as the model may keep or change what it is given.
        given = canvas.part(latents, 0, window_latents)
        canvas.move(latents, sampler.velocity(i, step, given, control), step)
    return latents
