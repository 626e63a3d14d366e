"""Policy `stream`: each window is denoised to its end before the next one is looked at, so the delay is one window.

The latents that a window shares with its predecessors are held: at every step they are set to (1 - sigma) held + sigma
noise, held being the blend of the earlier results, and after the last step the new result is faded in by the ramps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_rt.denoise_control import ControlFeed
from clear_rt.denoise_model import Sampler
from clear_rt.noise import Noise
from clear_rt.windows import ramp

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Blend:
    """Normalised blend [C, L, h, w] of the results so far, and the sum [L] of the weights in it."""

    values: Floats
    weights: Floats

    @property
    def latents(self) -> int:
        return len(self.weights)

    def after(self, latents: int) -> _Blend:
        """Without the first `latents`, in memory of its own."""
        return _Blend(self.values[:, latents:].copy(), self.weights[latents:])


def denoise_stream(control: Iterable[Floats], noise: Noise, sampler: Sampler) -> Iterator[Floats]:
    """As `denoise.denoise`, for `stream`: what the next window does not share comes before its control is pulled."""
    feed = ControlFeed(control, sampler.plan)
    held: _Blend | None = None
    for i, window in enumerate(sampler.plan.windows):
        latents = feed.window(i)
        shape = (latents.shape[0], *latents.shape[2:])
        start = np.stack([noise(t, shape) for t in window], axis=1, dtype=np.float32)
        result = _sampled(sampler, i, sampler.model.control(latents), start, held)
        blend = _faded(result, ramp(sampler.plan, i), held)
        done = sampler.plan.next_start(i) - window.start
        for k in range(done):
            yield blend.values[:, k].copy()
        held = blend.after(done)


def _sampled(sampler: Sampler, i: int, control: Any, noise: Floats, held: _Blend | None) -> Floats:  # noqa: ANN401
    """Window i [C, L, h, w] denoised from noise of that shape, its first latents led along what is held."""
    latents = noise.copy()
    for step in range(sampler.steps):
        if held is not None:
            sigma, shared = sampler.sigma(step), held.latents
            latents[:, :shared] = (1 - sigma) * held.values + sigma * noise[:, :shared]
        # A copy, as the model may keep or change what it is given.
        latents += sampler.velocity(i, step, latents.copy(), control) * sampler.change(step)
    return latents


def _faded(result: Floats, weights: Floats, held: _Blend | None) -> _Blend:
    """The blend with one more window, whose first latents are those held. Takes both arrays over."""
    if held is not None:
        shared = held.latents
        total = held.weights + weights[:shared]
        result[:, :shared] *= (weights[:shared] / total)[:, None, None]
        result[:, :shared] += held.values * (held.weights / total)[:, None, None]
        weights[:shared] = total
    return _Blend(result, weights)
