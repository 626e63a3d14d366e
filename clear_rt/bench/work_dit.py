"""What one denoising step of one window costs, as reference.md 10 counts it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

from clear_rt.bench.work import Work
from clear_rt.models.dit_config import DitSizes

PATCH_VALUES = 4
PATCH_PX = 2
_OCCLUSION_CHANNELS, _OCCLUSION_KERNEL = 64, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class DitShape(DitSizes):
    """A baked transformer. `text_keys`: keys of the cross-attention, whose values are constant."""

    text_keys: int


def tokens_of(latents: int, rows: int, columns: int) -> int:
    """Tokens of latents [C, latents, rows, columns]."""
    return latents * (rows // PATCH_PX) * (columns // PATCH_PX)


def step_parts(dit: DitShape, tokens: int) -> dict[str, Work]:
    """One step of a window of `tokens`, part by part: `linears`, `self attention`, `cross attention`, `rest`."""
    width, patch = dit.width, PATCH_VALUES * dit.latent_channels
    linears = (
        Work.linear(tokens, width, 3 * width)
        + Work.linear(tokens, width, width) * 3
        + Work.linear(tokens, width, dit.ffn_width)
        + Work.linear(tokens, dit.ffn_width, width)
    )
    rest = Work.linear(tokens, patch, width) + Work.linear(tokens, width, patch)
    if dit.occlusion:
        rest += Work.convolution(tokens, tokens, width, _OCCLUSION_CHANNELS, _OCCLUSION_KERNEL)
        rest += Work.linear(tokens, _OCCLUSION_CHANNELS, 1)
    return {
        "linears": linears * dit.layers,
        "self attention": Work.attention(tokens, tokens, width) * dit.layers,
        "cross attention": Work.attention(tokens, dit.text_keys, width) * dit.layers,
        "rest": rest,
    }


def step_work(dit: DitShape, tokens: int) -> Work:
    """All parts together."""
    return reduce(add, step_parts(dit, tokens).values())


def control_work(dit: DitShape, tokens: int) -> Work:
    """Embedding the control latents, once per window."""
    return Work.linear(tokens, PATCH_VALUES * dit.latent_channels, dit.width)
