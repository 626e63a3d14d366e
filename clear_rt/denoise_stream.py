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
from clear_rt.restart import Restartable
from clear_rt.states import Named, Stored, integers, require


class Stream:
    """As `denoise.Denoising`, for `stream`: what the next window does not share comes before its control is pulled."""

    def __init__(self, control: Iterable[Array], noise: Noise, sampler: Sampler) -> None:
        self._sampler, self._noise, self._canvas = sampler, noise, sampler.canvas
        self._feed = ControlFeed(control, sampler.plan, sampler.canvas)
        # Windows that were denoised, the last one's result, and how many of its latents were handed out.
        self._windows = 0
        self._result: Array | None = None
        self._given = 0

    def __iter__(self) -> Iterator[Array]:
        return self

    def __next__(self) -> Array:
        while self._given == self._new:
            if self._windows == len(self._sampler.plan.windows):
                raise StopIteration
            self._denoise()
        self._given += 1
        return self._canvas.latent(self._result, self._given - 1)

    @property
    def calls(self) -> int:
        """As `Denoising.calls`."""
        return self._windows * self._sampler.steps

    @property
    def _new(self) -> int:
        """Latents of the last window that the next one does not hold."""
        plan, i = self._sampler.plan, self._windows - 1
        return plan.next_start(i) - plan.windows[i].start if self._windows else 0

    def _denoise(self) -> None:
        i, window, held = self._windows, self._sampler.plan.windows[self._windows], self._held()
        latents = self._feed.window(i)
        shape = (latents.shape[0], *latents.shape[2:])
        start = self._canvas.placed([self._noise(t, shape) for t in window])
        result = _sampled(self._sampler, i, self._sampler.model.control(latents), start, held)
        if held is not None:
            self._canvas.fade(result, held, i)
        self._windows, self._result, self._given = i + 1, result, 0

    def _held(self) -> Array | None:
        """What the last window shares with the next, which is all that stays of it."""
        result, self._result = self._result, None
        if result is None:
            return None
        return self._canvas.part(result, self._new, len(self._sampler.plan.windows[self._windows - 1]))

    def named(self, side: Restartable) -> Named:
        """As `Denoising.named`."""
        yield "windows", integers(self._windows)
        yield "given", integers(self._given)
        if self._result is not None:
            yield "result", side.to_host(self._result)
        yield from self._feed.named(side)

    def restore(self, stored: Stored, side: Restartable, shape: tuple[int, ...]) -> None:
        """As `Denoising.restore`."""
        windows, (channels, *size) = self._sampler.plan.windows, shape
        self._windows, self._given = stored.integer("windows"), stored.integer("given")
        require(self._windows <= len(windows) and self._given <= self._new, "the state is of a longer run")
        if self._windows:
            result = stored.array("result", (channels, len(windows[self._windows - 1]), *size))
            self._result = side.from_host(result)
        self._feed.restore(stored, side, self._windows, shape)


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
