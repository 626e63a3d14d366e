"""One engine at one size: every call of its networks timed, in windows that follow each other as in a long run.

The first window of a run encodes more and is the coldest; a few more warm up; what is counted are windows after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_rt.bench.device import settle
from clear_rt.bench.samples import Clock, Samples
from clear_rt.bench.scene import Scene
from clear_rt.canvas import Array
from clear_rt.config import DenoiseConfig, Policy
from clear_rt.errors import ConfigError, EngineError
from clear_rt.generate import fitting
from clear_rt.schedule import frames_of
from clear_rt.shapes import Size
from clear_rt.side import Side, side_of
from clear_rt.windows import plan_windows

if TYPE_CHECKING:
    from clear_rt.generator import GeneratorSpec, StepTable
    from clear_rt.runtime.engine import Engine

Floats = NDArray[np.float32]
ENCODE, CONTROL, STEP, DECODE = "VAE encode", "DiT control", "DiT step", "VAE decode"
_SCENE_FRAMES = 16


class Window(NamedTuple):
    """Latents of a window, and those that it shares with the one before."""

    latents: int
    overlap: int
    latent_frames: int = 4

    @property
    def new_latents(self) -> int:
        return self.latents - self.overlap

    @property
    def new_frames(self) -> int:
        """Frames that a window in the middle of a run adds to it: 68 for 21 latents of which 4 overlap."""
        return self.new_latents * self.latent_frames

    @property
    def frames(self) -> int:
        """Frames of a run of one window."""
        return frames_of(self.latents, self.latent_frames)

    @classmethod
    def of(cls, spec: GeneratorSpec, policy: Policy = "paper") -> Window:
        """The bundle's; under `reference` its numbers of frames are taken for latents (reference.md 6.5)."""
        if policy == "reference":
            latents = frames_of(spec.window_latents, spec.latent_frames)
            return cls(latents, spec.latent_frames * spec.overlap_latents, spec.latent_frames)
        return cls(spec.window_latents, spec.overlap_latents, spec.latent_frames)


@dataclass(frozen=True, slots=True)
class NetworkTimes:
    """Times of all stages by name. `windows`: from the first call of a window to its last, with what the host does in
    between. `first_frame_s`: from the first call ever at this size to the first decoded latent.
    """

    size: Size
    window: Window
    steps: int
    stages: dict[str, Samples]
    windows: Samples
    first_frame_s: float

    def calls_per_window(self, stage: str) -> int:
        return {ENCODE: self.window.new_latents, CONTROL: 1, STEP: self.steps, DECODE: self.window.new_latents}[stage]

    @property
    def seconds_per_window(self) -> float:
        """Calls of a steady window times the median of each stage."""
        return sum(self.calls_per_window(stage) * self.stages[stage].p50 for stage in self.stages)

    @property
    def fps(self) -> float:
        """New frames per second of the networks alone, one after the other."""
        return self.window.new_frames / self.seconds_per_window


def measure(
    engine: Engine,
    spec: GeneratorSpec,
    size: Size,
    *,
    window: Window | None = None,
    steps: int | None = None,
    runs: int = 5,
    warmups: int = 1,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    tell: Callable[[str], None] = lambda stage: None,
) -> NetworkTimes:
    """Times of `runs` steady windows of crops of `size`, after a first window and `warmups` more.

    `window` and `steps` are the bundle's where None; `pictures` uint8 [H, W, 3] of `size` are shown in turn, a moving
    scene where None. Latents denoised in one window are not blended into the next: that costs the networks nothing.

    Raises:
        ConfigError: a size or a number of steps that the bundle does not take. EngineError: what the engine raises, and
        where it answers with what is no number.
    """
    _check(spec, size)
    window, table = window or Window.of(spec), fitting(spec, DenoiseConfig(steps=steps)).table
    clock = Clock(settle())
    drive = _Drive(engine, spec, size, window, table, clock, pictures)
    first_frame_s = drive.first()
    for _ in range(warmups):
        drive.steady()
    clock.warming = False
    for run in range(runs):
        tell(f"{size.width_px}x{size.height_px}: window {run + 1} of {runs}")
        drive.steady()
    windows = clock.stages.pop("window")
    return NetworkTimes(size, window, len(table.rows), clock.stages, windows, first_frame_s)


class _Drive:
    """A run under way on the engine's side: the caches of both coders, and the control latents of the last window."""

    def __init__(
        self,
        engine: Engine,
        spec: GeneratorSpec,
        size: Size,
        window: Window,
        table: StepTable,
        clock: Clock,
        pictures: Sequence[NDArray[np.uint8]] | None,
    ) -> None:
        self._side, self._window, self._table, self._clock = side_of(engine), window, table, clock
        alone = plan_windows(window.latents, window.latents, window.overlap, "paper")
        self._canvas = self._side.canvas(alone, table)
        self._groups = _groups(self._side, pictures or list(Scene(size).pictures(_SCENE_FRAMES)), spec.latent_frames)
        self._control: deque[Array] = deque(maxlen=window.latents)
        noise = drawn_noise(spec, size, window)
        self._noise = self._canvas.placed([noise[:, i] for i in range(window.latents)])
        self._encoder: Sequence[Any] | None = None
        self._decoder: Sequence[Any] | None = None

    def first(self) -> float:
        """The first window; returns seconds until its first latent was decoded."""
        begun = perf_counter()
        latents = self._denoised(self._window.latents)
        self._decode(latents, 0)
        first_frame_s = perf_counter() - begun
        for i in range(1, self._window.new_latents):
            self._decode(latents, i)
        self._clock.add("window", perf_counter() - begun)
        return first_frame_s

    def steady(self) -> None:
        begun = perf_counter()
        latents = self._denoised(self._window.new_latents)
        for i in range(self._window.new_latents):
            self._decode(latents, i)
        self._clock.add("window", perf_counter() - begun)

    def _denoised(self, new_latents: int) -> Array:
        """Encodes so many latents and denoises the window that ends with them."""
        for _ in range(new_latents):
            self._encode()
        control_latents = self._canvas.stacked(tuple(self._control))
        control = self._clock.timed(CONTROL, lambda: self._side.control(control_latents))
        latents = self._canvas.part(self._noise, 0, self._window.latents)
        for step, row in enumerate(self._table.rows):
            # A copy, as the engine may keep or change what it is given.
            given = self._canvas.part(latents, 0, self._window.latents)
            velocity = self._clock.timed(STEP, partial(self._side.velocity, given, control, row))
            self._canvas.move(latents, self._finite(velocity), step)
        return latents

    def _encode(self) -> None:
        frames = next(self._groups)
        if self._encoder is None:
            frames = frames[:, :1]
        latent, self._encoder = self._clock.timed(ENCODE, lambda: self._side.encode(frames, self._encoder))
        self._control.append(self._finite(latent))

    def _decode(self, latents: Array, i: int) -> None:
        given = self._canvas.latent(latents, i)
        frames, self._decoder = self._clock.timed(DECODE, lambda: self._side.decode(given, self._decoder))
        self._finite(frames)

    def _finite(self, values: Array) -> Array:
        if self._canvas.not_finite(values):
            raise EngineError(
                "the engine answered with values that are no numbers (NaN or infinity), so its speed says nothing; "
                "try another --engine or a bundle of higher precision"
            )
        return values


def drawn_noise(spec: GeneratorSpec, size: Size, window: Window) -> Floats:
    """Noise float32 [C, L, h, w] of a window, the same every time."""
    height, width = size.height_px // spec.latent_px, size.width_px // spec.latent_px
    return np.random.default_rng(0).standard_normal((spec.latent_channels, window.latents, height, width), np.float32)


def _groups(side: Side, pictures: Sequence[NDArray[np.uint8]], latent_frames: int) -> Iterator[Array]:
    """The frames of one latent after another, without end; converted beforehand, as that is no network's time."""
    count = max(1, len(pictures) // latent_frames)
    taken = [[pictures[(i * latent_frames + k) % len(pictures)] for k in range(latent_frames)] for i in range(count)]
    made = [side.pictures.shown(group) for group in taken]
    while True:
        yield from made


def _check(spec: GeneratorSpec, size: Size) -> None:
    if min(size) < 1 or size.width_px % spec.multiple_px or size.height_px % spec.multiple_px:
        raise ConfigError(
            f"expected a region with sides that are multiples of {spec.multiple_px} px, "
            f"got {size.width_px}x{size.height_px}"
        )
