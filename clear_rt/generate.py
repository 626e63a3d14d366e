"""Crops of a region run to generated crops: encoded, denoised in windows, decoded, each as late as it can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clear_rt.config import DenoiseConfig
from clear_rt.denoise import denoise
from clear_rt.errors import ConfigError
from clear_rt.latents import decode, encode
from clear_rt.noise import Noise, drawn, from_file
from clear_rt.report import Stopwatch
from clear_rt.schedule import frames_of, latents_of
from clear_rt.windows import WindowPlan, plan_windows

if TYPE_CHECKING:
    from clear_rt.generator import GeneratorSpec, StepTable
    from clear_rt.runtime.engine import Engine

UInt8 = NDArray[np.uint8]
Floats = NDArray[np.float32]


class CropGenerator:
    """The generative model of one bundle with the options of one run of the program, for any number of videos.

    Raises:
        ConfigError: the bundle has no table for so many steps, its graphs are too rigid for the policy, or the file of
            noise is none.
    """

    def __init__(self, engine: Engine, spec: GeneratorSpec, config: DenoiseConfig) -> None:
        self.spec = spec
        self.config = config
        self.steps = spec.default_steps if config.steps is None else config.steps
        self._engine = engine
        self._table = _table(spec, self.steps)
        if config.policy == "reference" and spec.latents_fixed:
            raise ConfigError(
                f"--policy reference needs windows of any length, and this bundle's always hold {spec.window_latents} "
                "latents; use --policy paper, or build the bundle with dynamic latents"
            )
        self._noise = None if config.noise is None else from_file(config.noise)

    def crops(self, ordinal: int, pictures: Iterable[UInt8], total_frames: int, watch: Stopwatch) -> Iterator[Floats]:
        """Generated crops float32 [H, W, 3], 0..255, for the `total_frames` crops uint8 [H, W, 3] of run `ordinal`.

        The same number in the same order. Pulled lazily: memory does not grow with the run. Raises what the engine
        raises, and ConfigError where noise from a file does not fit.
        """
        plan = self.plan(total_frames)
        control = encode(
            self._engine,
            pictures,
            total_frames,
            latent_frames=self.spec.latent_frames,
            least_latents=plan.total_latents,
        )
        clean = denoise(
            watch.each(control, "encode latents"),
            self._noise_of(ordinal),
            self._engine,
            plan,
            self._table,
            self.config.policy,
        )
        return watch.each(decode(self._engine, watch.each(clean, "denoise"), total_frames), "decode latents")

    @property
    def seed(self) -> int | None:
        """What the noise is drawn by, None where it comes from a file."""
        return self.config.seed if self._noise is None else None

    def plan(self, total_frames: int) -> WindowPlan:
        """The windows of a run. Where the graphs take whole windows only, a short run is filled up to one."""
        total_latents = latents_of(total_frames, self.spec.latent_frames)
        if self.spec.latents_fixed:
            total_latents = max(total_latents, self.spec.window_latents)
        return plan_windows(total_latents, self.spec.window_latents, self.spec.overlap_latents, self.config.policy)

    def notes(self, run_frames: Sequence[int]) -> tuple[str, ...]:
        """What somebody should know about runs of these lengths: a sentence each."""
        latents = [latents_of(frames, self.spec.latent_frames) for frames in run_frames]
        short = sum(count < self.spec.window_latents for count in latents)
        if not short:
            return ()
        runs = "1 run" if len(run_frames) == 1 else f"{len(run_frames)} runs"
        are, each = ("is", "") if short == 1 else ("are", " each")
        how = f"denoised in one short window{each}"
        if self.spec.latents_fixed:
            how = f"filled up to one window{each} with the last frame"
        window_frames = frames_of(self.spec.window_latents, self.spec.latent_frames)
        return (f"{short} of {runs} {are} shorter than the bundle's window of {window_frames} frames; {how}",)

    def _noise_of(self, ordinal: int) -> Noise:
        return drawn(self.config.seed, ordinal) if self._noise is None else self._noise


def _table(spec: GeneratorSpec, steps: int) -> StepTable:
    if steps not in spec.step_tables:
        held = ", ".join(map(str, sorted(spec.step_tables)))
        raise ConfigError(f"--steps {steps}: this bundle holds tables for {held} steps; choose one of them")
    return spec.step_tables[steps]
