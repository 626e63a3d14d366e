"""Policies `paper` and `reference`: one velocity, averaged over all windows at every step, computed as a wavefront.

A window may take a step once all its latents have taken the one before, and these wait for their other windows. So each
step reaches one window further: the furthest step that can be taken is, and only where none can, the next window is
admitted. The numbers are those of taking every step for the whole clip at once, bit for bit, since the windows over a
latent always add up from left to right; the memory is that of `steps` windows, whatever the clip's length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clear_rt.canvas import Array
from clear_rt.denoise_control import ControlFeed
from clear_rt.denoise_model import Sampler
from clear_rt.noise import Noise


@dataclass(slots=True)
class _Window:
    index: int
    control: Array
    step: int = 0


def denoise_wavefront(control: Iterable[Array], noise: Noise, sampler: Sampler) -> Iterator[Array]:
    """As `denoise.denoise`, for the policies `paper` and `reference`."""
    front = _Wavefront(sampler, noise)
    feed = ControlFeed(control, sampler.plan, sampler.canvas)
    for i in range(len(sampler.plan.windows)):
        front.admit(i, feed.window(i))
        while front.advance():
            yield from front.final()


class _Wavefront:
    """Windows under way, from left to right, none ahead of its left neighbour, and the latents they cover."""

    def __init__(self, sampler: Sampler, noise: Noise) -> None:
        self._sampler, self._noise, self._canvas = sampler, noise, sampler.canvas
        self._windows: dict[int, _Window] = {}
        # Latents from `_base` on, and the velocity of the windows that have run since their last step.
        self._base = 0
        self._latents: Array | None = None
        self._sums: Array | None = None
        # Of the latents that are not handed out, the first of which is `_first`: how many steps they have taken.
        self._first = 0
        self._steps: deque[int] = deque()

    def admit(self, i: int, control: Array) -> None:
        """Starts window i with control [C, L, h, w], its new latents at pure noise."""
        shape, stop = (control.shape[0], *control.shape[2:]), self._sampler.plan.windows[i].stop
        admitted = self._first + len(self._steps)
        new = self._canvas.placed([self._noise(t, shape) for t in range(admitted, stop)])
        # Whatever there is for their sums: the first window over a latent sets them.
        self._sums = self._continued(self._sums, new)
        self._latents = self._continued(self._latents, new)
        self._base = self._first
        self._steps.extend([0] * (stop - admitted))
        self._windows[i] = _Window(i, self._sampler.model.control(control))

    def _continued(self, kept: Array | None, new: Array) -> Array:
        """`kept` without what was handed out, and `new` behind it."""
        if kept is None:
            return self._canvas.part(new, 0, new.shape[1])
        start = self._first - self._base
        return self._canvas.continued(kept, start, start + len(self._steps), new)

    def advance(self) -> bool:
        """Takes the furthest step that can be taken; False where every window waits for one not admitted yet.

        The furthest is the leftmost that is ready, as no window is ahead of its left neighbour.
        """
        window = next(filter(self._ready, self._windows.values()), None)
        if window is not None:
            self._step(window)
        return window is not None

    def _ready(self, window: _Window) -> bool:
        return all(self._steps[t - self._first] == window.step for t in self._sampler.plan.windows[window.index])

    def _step(self, window: _Window) -> None:
        """Takes one step of a window, and moves the latents for which it is the last window."""
        plan, i, step = self._sampler.plan, window.index, window.step
        start, length = plan.windows[i].start, len(plan.windows[i])
        place = start - self._base
        given = self._canvas.part(self._latents, place, place + length)
        velocity = self._sampler.velocity(i, step, given, window.control)
        self._canvas.average(self._latents, self._sums, velocity, place, i, step)
        for t in range(start, plan.next_start(i)):
            self._steps[t - self._first] += 1
        window.step += 1
        if window.step == self._sampler.steps:
            del self._windows[i]

    def final(self) -> Iterator[Array]:
        """Hands out the latents that have taken all steps, in order, and forgets them."""
        while self._steps and self._steps[0] == self._sampler.steps:
            self._steps.popleft()
            self._first += 1
            yield self._canvas.latent(self._latents, self._first - 1 - self._base)
