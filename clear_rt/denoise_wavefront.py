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
from clear_rt.restart import Restartable
from clear_rt.states import Named, Stored, integers, require


@dataclass(slots=True)
class _Window:
    """`given` [C, L, h, w] is what the model was asked `control` about."""

    index: int
    given: Array
    control: Array
    step: int = 0


class Wavefront:
    """As `denoise.Denoising`, for the policies `paper` and `reference`.

    Windows under way, from left to right, none ahead of its left neighbour, and the latents they cover.
    """

    def __init__(self, control: Iterable[Array], noise: Noise, sampler: Sampler) -> None:
        self._sampler, self._noise, self._canvas = sampler, noise, sampler.canvas
        self._feed = ControlFeed(control, sampler.plan, sampler.canvas)
        self._windows: dict[int, _Window] = {}
        self._admitted = self.calls = 0
        # Latents from `_base` on, and the velocity of the windows that have run since their last step.
        self._base = 0
        self._latents: Array | None = None
        self._sums: Array | None = None
        # Of the latents that are not handed out, the first of which is `_first`: how many steps they have taken.
        self._first = 0
        self._steps: deque[int] = deque()

    def __iter__(self) -> Iterator[Array]:
        return self

    def __next__(self) -> Array:
        """The next latent that has taken all steps, which is forgotten here."""
        while not self._steps or self._steps[0] < self._sampler.steps:
            if not self._advance():
                if self._admitted == len(self._sampler.plan.windows):
                    raise StopIteration
                self._admit(self._admitted, self._feed.window(self._admitted))
        self._steps.popleft()
        self._first += 1
        return self._canvas.latent(self._latents, self._first - 1 - self._base)

    def _admit(self, i: int, control: Array) -> None:
        """Starts window i with control [C, L, h, w], its new latents at pure noise."""
        shape, stop = (control.shape[0], *control.shape[2:]), self._sampler.plan.windows[i].stop
        admitted = self._first + len(self._steps)
        new = self._canvas.placed([self._noise(t, shape) for t in range(admitted, stop)])
        # Whatever there is for their sums: the first window over a latent sets them.
        self._sums = self._continued(self._sums, new)
        self._latents = self._continued(self._latents, new)
        self._base = self._first
        self._steps.extend([0] * (stop - admitted))
        self._windows[i] = _Window(i, control, self._sampler.model.control(control))
        self._admitted = i + 1

    def _continued(self, kept: Array | None, new: Array) -> Array:
        """`kept` without what was handed out, and `new` behind it."""
        if kept is None:
            return self._canvas.part(new, 0, new.shape[1])
        return self._canvas.continued(kept, *self._resident, new)

    @property
    def _resident(self) -> tuple[int, int]:
        """Where in `_latents` those begin and end that were not handed out."""
        start = self._first - self._base
        return start, start + len(self._steps)

    def _advance(self) -> bool:
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
        self.calls += 1
        self._canvas.average(self._latents, self._sums, velocity, place, i, step)
        for t in range(start, plan.next_start(i)):
            self._steps[t - self._first] += 1
        window.step += 1
        if window.step == self._sampler.steps:
            del self._windows[i]

    def named(self, side: Restartable) -> Named:
        """As `Denoising.named`."""
        yield "admitted", integers(self._admitted)
        yield "calls", integers(self.calls)
        yield "first", integers(self._first)
        yield "steps", integers(*self._steps)
        if self._steps:
            for name, array in (("latents", self._latents), ("sums", self._sums)):
                yield name, side.to_host(self._canvas.part(array, *self._resident))
        yield "window_steps", integers(*(window.step for window in self._windows.values()))
        for i, window in self._windows.items():
            yield f"window.{i}", side.to_host(window.given)
        yield from self._feed.named(side)

    def restore(self, stored: Stored, side: Restartable, shape: tuple[int, ...]) -> None:
        """As `Denoising.restore`."""
        plan, steps, channels, size = self._sampler.plan, self._sampler.steps, shape[0], shape[1:]
        self._admitted, self.calls, self._first = (stored.integer(name) for name in ("admitted", "calls", "first"))
        self._base = self._first
        self._steps.extend(stored.integers("steps"))
        window_steps = stored.integers("window_steps")
        require(
            len(window_steps) <= self._admitted <= len(plan.windows)
            and self._first + len(self._steps) == (plan.windows[self._admitted - 1].stop if self._admitted else 0)
            and max((*self._steps, *window_steps), default=0) <= steps,
            "the state is of other windows",
        )
        if self._steps:
            resident = (channels, len(self._steps), *size)
            self._latents, self._sums = (side.from_host(stored.array(n, resident)) for n in ("latents", "sums"))
        # Windows end in the order in which they were admitted.
        for i, step in enumerate(window_steps, start=self._admitted - len(window_steps)):
            given = side.from_host(stored.array(f"window.{i}", (channels, len(plan.windows[i]), *size)))
            self._windows[i] = _Window(i, given, self._sampler.model.control(given), step)
        self._feed.restore(stored, side, self._admitted, shape)
