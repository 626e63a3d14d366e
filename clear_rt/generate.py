"""Crops of a region run to generated frames: encoded, denoised in windows, decoded, each as late as it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_rt.canvas import Array
from clear_rt.coding import Decoding, Encoding, encoded
from clear_rt.config import DenoiseConfig
from clear_rt.denoise import denoise
from clear_rt.denoise_model import Model
from clear_rt.errors import ConfigError
from clear_rt.generation import Generation, Stages, encoder_state
from clear_rt.latents import first_crop, groups
from clear_rt.noise import Noise, drawn, from_file
from clear_rt.pictures import Crop
from clear_rt.report import Stopwatch
from clear_rt.restart import Restartable
from clear_rt.schedule import frames_of, latents_of
from clear_rt.side import side_of
from clear_rt.states import Stored
from clear_rt.windows import WindowPlan, plan_windows

if TYPE_CHECKING:
    from clear_rt.generator import GeneratorSpec, StepTable
    from clear_rt.runtime.engine import Engine

UInt8 = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Fitting(NamedTuple):
    """What the options of a run take from its bundle: the table of its steps, and the noise of a file if it has one."""

    table: StepTable
    noise: Noise | None


def fitting(spec: GeneratorSpec, config: DenoiseConfig) -> Fitting:
    """Fits options to a bundle's generator; no engine is needed for that.

    Raises:
        ConfigError: the bundle has no table for so many steps, its graphs are too rigid for the policy, or the file of
            noise is none.
    """
    table = _table(spec, spec.default_steps if config.steps is None else config.steps)
    if config.policy == "reference" and spec.latents_fixed:
        raise ConfigError(
            f"--policy reference needs windows of any length, and this bundle's always hold {spec.window_latents} "
            "latents; use --policy paper, or build the bundle with dynamic latents"
        )
    return Fitting(table, None if config.noise is None else from_file(config.noise))


class CropGenerator:
    """The generative model of one bundle with the options of one run of the program, for any number of videos.

    `fitted` where `fitting` was called already. Raises ConfigError as that.
    """

    def __init__(
        self, engine: Engine, spec: GeneratorSpec, config: DenoiseConfig, fitted: Fitting | None = None
    ) -> None:
        self.spec = spec
        self.config = config
        self.side = side_of(engine)
        self._table, self._noise = fitted or fitting(spec, config)
        self.steps = len(self._table.rows)

    def crops(
        self,
        ordinal: int,
        pictures: Iterable[UInt8],
        total_frames: int,
        watch: Stopwatch,
        stepped: Callable[[], None] = lambda: None,
    ) -> Iterator[Floats]:
        """Generated crops float32 [H, W, 3], 0..255, for the crops uint8 [H, W, 3] of run `ordinal`, on one thread.

        `Pictures.picture` of all `frames` of their `groups`, and raises what these do.
        """
        shown = self.groups(pictures, total_frames)
        return map(self.side.pictures.picture, self.frames(ordinal, shown, total_frames, watch, stepped))

    def groups(self, crops: Iterable[Crop], total_frames: int, state: Stored | None = None) -> Iterator[Array]:
        """What the engine is shown of the `total_frames` crops of a run, as `latents.groups`.

        With a state, what it was not shown yet; `crops` then begin at `first_crop`. Raises StateError.
        """
        return groups(
            crops,
            total_frames,
            self.side.pictures.shown,
            latent_frames=self.spec.latent_frames,
            least_latents=self.plan(total_frames).total_latents,
            first_latent=0 if state is None else encoded(encoder_state(state)),
        )

    def first_crop(self, total_frames: int, state: Stored) -> int:
        """Which crop of a run is the first one that is still needed after a state. Raises StateError."""
        latents = encoded(encoder_state(state))
        if latents >= self.plan(total_frames).total_latents:
            return total_frames
        return first_crop(total_frames, latents, self.spec.latent_frames)

    def frames(
        self,
        ordinal: int,
        frame_groups: Iterable[Array],
        total_frames: int,
        watch: Stopwatch,
        stepped: Callable[[], None] = lambda: None,
        state: Stored | None = None,
    ) -> Generation:
        """Generated frames [3, H, W] of this side, for its `pictures`, of the `groups` of the crops of run `ordinal`.

        One for each of the `total_frames` crops, in their order. Pulled lazily: memory does not grow with the run. All
        work of the engine is done here. `stepped` is called after every step of every window, `calls(total_frames)`
        times in all. Raises what the engine raises, EngineError where its latents are not of the bundle's shape, and
        ConfigError where noise from a file does not fit.

        With the `state` of a run, the frames after those that it had given, bit for bit, of the `groups` of the same
        state; StateError is raised here where it is not of such a run.
        """
        plan = self.plan(total_frames)
        encoding = Encoding(
            self.side, frame_groups, latent_channels=self.spec.latent_channels, latent_px=self.spec.latent_px
        )
        denoising = denoise(
            watch.each(encoding, "encode latents"),
            self._noise_of(ordinal),
            _Told(self.side, stepped),
            plan,
            self._table,
            self.config.policy,
            self.side.canvas(plan, self._table),
        )
        decoding = Decoding(self.side, watch.each(denoising, "denoise"), total_frames)
        stages = Stages(encoding, denoising, decoding, plan.total_latents, self.spec.latent_px)
        if state is not None:
            stages.restore(state, self.side)
        return Generation(stages, self.side, watch)

    @property
    def seed(self) -> int | None:
        """What the noise is drawn by, None where it comes from a file."""
        return self.config.seed if self._noise is None else None

    @property
    def signature(self) -> str:
        """In words, what generated frames depend on besides the crops, the weights and a file of noise."""
        spec, config = self.spec, self.config
        latents = spec.latent_channels, spec.latent_px, spec.latent_frames
        windows = spec.window_latents, spec.overlap_latents, spec.latents_fixed
        engine = self.side.kept_as if isinstance(self.side, Restartable) else None
        return f"{engine} {config.policy} {self.seed} {self._table} {latents} {windows} {spec.draft} {spec.precision}"

    def plan(self, total_frames: int) -> WindowPlan:
        """The windows of a run. Where the graphs take whole windows only, a short run is filled up to one."""
        total_latents = latents_of(total_frames, self.spec.latent_frames)
        if self.spec.latents_fixed:
            total_latents = max(total_latents, self.spec.window_latents)
        return plan_windows(
            total_latents,
            self.spec.window_latents,
            self.spec.overlap_latents,
            self.config.policy,
            latent_frames=self.spec.latent_frames,
        )

    def burst_frames(self, total_frames: int) -> int:
        """Frames of a run that a window makes final at once, at most: those of its latents that no later one holds."""
        plan = self.plan(total_frames)
        latents = max(plan.next_start(i) - window.start for i, window in enumerate(plan.windows))
        return min(total_frames, latents * self.spec.latent_frames)

    def calls(self, total_frames: int) -> int:
        """Steps of all windows of a run, each of which is one call of the model."""
        return len(self.plan(total_frames).windows) * self.steps

    def short_runs(self, run_frames: Sequence[int]) -> int:
        """How many of the runs of these lengths have fewer latents than a window."""
        latents = [latents_of(frames, self.spec.latent_frames) for frames in run_frames]
        return sum(count < self.spec.window_latents for count in latents)

    def notes(self, run_frames: Sequence[int]) -> tuple[str, ...]:
        """What somebody should be warned of in runs of these lengths, a sentence each: that frames were made up."""
        short = self.short_runs(run_frames)
        if not short or not self.spec.latents_fixed:
            return ()
        runs = "1 run" if len(run_frames) == 1 else f"{len(run_frames)} runs"
        are, each = ("is", "") if short == 1 else ("are", " each")
        window_frames = frames_of(self.spec.window_latents, self.spec.latent_frames)
        return (
            f"{short} of {runs} {are} shorter than the bundle's window of {window_frames} frames; "
            f"filled up to one window{each} with the last frame",
        )

    def _noise_of(self, ordinal: int) -> Noise:
        return drawn(self.config.seed, ordinal) if self._noise is None else self._noise


class _Told:
    """A model that tells of every velocity it has answered with."""

    def __init__(self, model: Model, stepped: Callable[[], None]) -> None:
        self.control = model.control
        self._velocity = model.velocity
        self._stepped = stepped

    def velocity(self, latents: Array, control: Array, row: int) -> Array:
        found = self._velocity(latents, control, row)
        self._stepped()
        return found


def _table(spec: GeneratorSpec, steps: int) -> StepTable:
    if steps not in spec.step_tables:
        held = ", ".join(map(str, sorted(spec.step_tables)))
        raise ConfigError(f"--steps {steps}: this bundle holds tables for {held} steps; choose one of them")
    return spec.step_tables[steps]
