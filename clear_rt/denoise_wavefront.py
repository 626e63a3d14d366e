"""Policies `paper` and `reference`: one velocity, averaged over all windows at every step, computed as a wavefront.

A window may take a step once all its latents have taken the one before, and these wait for their other windows. So each
step reaches one window further: the furthest step that can be taken is, and only where none can, the next window is
admitted. The numbers are those of taking every step for the whole clip at once, bit for bit, since the windows over a
latent always add up from left to right; the memory is that of `steps` windows, whatever the clip's length.
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
from clear_rt.windows import shares

Floats = NDArray[np.float32]


@dataclass(slots=True)
class _Latent:
    """One latent [C, h, w] after `step` steps, with the velocity of the next from the windows that have run."""

    values: Floats
    step: int = 0
    velocity: Floats | None = None

    def add(self, velocity: Floats) -> None:
        """Takes the array over: nobody else may hold it."""
        if self.velocity is None:
            self.velocity = velocity
        else:
            self.velocity += velocity

    def move(self, change: np.float32) -> None:
        assert self.velocity is not None
        self.velocity *= change
        self.values += self.velocity
        self.velocity = None
        self.step += 1


@dataclass(slots=True)
class _Window:
    index: int
    control: Any
    step: int = 0


def denoise_wavefront(control: Iterable[Floats], noise: Noise, sampler: Sampler) -> Iterator[Floats]:
    """As `denoise.denoise`, for the policies `paper` and `reference`."""
    front = _Wavefront(sampler)
    feed = ControlFeed(control, sampler.plan)
    for i in range(len(sampler.plan.windows)):
        front.admit(i, feed.window(i), noise)
        while front.advance():
            yield from front.final()


class _Wavefront:
    """Windows under way, from left to right, none ahead of its left neighbour, and the latents they cover."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._shares = shares(sampler.plan)
        self._latents: dict[int, _Latent] = {}
        self._windows: dict[int, _Window] = {}
        self._admitted = 0

    def admit(self, i: int, control: Floats, noise: Noise) -> None:
        """Starts window i with control [C, L, h, w], its new latents at pure noise."""
        stop = self._sampler.plan.windows[i].stop
        shape = (control.shape[0], *control.shape[2:])
        for t in range(self._admitted, stop):
            self._latents[t] = _Latent(np.array(noise(t, shape), np.float32))
        self._admitted = stop
        self._windows[i] = _Window(i, self._sampler.model.control(control))

    def advance(self) -> bool:
        """Takes the furthest step that can be taken; False where every window waits for one not admitted yet.

        The furthest is the leftmost that is ready, as no window is ahead of its left neighbour.
        """
        window = next(filter(self._ready, self._windows.values()), None)
        if window is not None:
            self._step(window)
        return window is not None

    def _ready(self, window: _Window) -> bool:
        return all(self._latents[t].step == window.step for t in self._sampler.plan.windows[window.index])

    def _step(self, window: _Window) -> None:
        """Takes one step of a window, and moves the latents for which it is the last window."""
        plan, i, step = self._sampler.plan, window.index, window.step
        latents = [self._latents[t] for t in plan.windows[i]]
        stacked = np.stack([latent.values for latent in latents], axis=1)
        velocity = self._sampler.velocity(i, step, stacked, window.control)
        for k, (latent, share) in enumerate(zip(latents, self._shares[i], strict=True)):
            latent.add(velocity[:, k] * share)
        for latent in latents[: plan.next_start(i) - plan.windows[i].start]:
            latent.move(self._sampler.change(step))
        window.step += 1
        if window.step == self._sampler.steps:
            del self._windows[i]

    def final(self) -> Iterator[Floats]:
        """Hands out the latents that have taken all steps, in order, and forgets them."""
        while (t := next(iter(self._latents), None)) is not None and self._latents[t].step == self._sampler.steps:
            yield self._latents.pop(t).values
