"""How much of a GPU's memory the `cuda` engine takes for a region, worked out from sizes: no GPU, no torch.

- `transformer` and `vae` count their networks, the latter by the layers of `vae_layers`.
- `plan` adds up, `subject` says whose sizes they are, `room` refuses what does not fit.
"""
