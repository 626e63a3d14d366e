"""Windows of real clips for calibration: the model's inputs as the run time would make them, through all steps.

Of every stretch of video with text one window is taken: cut, encoded and denoised by the run time's own code.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clear_rt import frames
from clear_rt.bundle import Bundle
from clear_rt.config import MatteConfig, RegionConfig
from clear_rt.crops import place
from clear_rt.denoise import denoise
from clear_rt.errors import InputError
from clear_rt.export.config import ExportConfig
from clear_rt.export.steps import step_tables
from clear_rt.generator import GeneratorSpec, StepTable
from clear_rt.latents import Encoder, encode
from clear_rt.leading import Leading, Shown
from clear_rt.matting import Matting, looked, queue_frames
from clear_rt.models.baked import BakedDit
from clear_rt.models.dit import PATCH
from clear_rt.models.vae_config import VaeConfig
from clear_rt.models.vae_step import EncoderStep
from clear_rt.noise import drawn
from clear_rt.outlining import Outlining, opened_outliner
from clear_rt.pictures import HostPictures
from clear_rt.prior import Prior
from clear_rt.regions import RegionFinder, RegionRun, Scan
from clear_rt.report import Stopwatch
from clear_rt.runtime.onnx import OnnxEngine
from clear_rt.schedule import frames_of
from clear_rt.shapes import Size, working_size
from clear_rt.windows import plan_windows

Floats = NDArray[np.float32]
MOST_WINDOWS = 8
SEED = 0


class Window(NamedTuple):
    """What `BakedDit.forward` is given: latents [1, C, L, h, w], control_tokens [1, N, width], row int64 []."""

    latents: Tensor
    control_tokens: Tensor
    row: Tensor


def generator_spec(config: ExportConfig, vae: VaeConfig) -> GeneratorSpec:
    """How the bundle that `config` describes will be run, as far as that is known before there is one."""
    table = step_tables(config).manifest[str(config.steps)]
    return GeneratorSpec(
        latent_channels=vae.latent_channels,
        latent_px=vae.latent_px,
        latent_frames=vae.latent_frames,
        multiple_px=vae.latent_px * PATCH[1],
        max_pixels=config.max_pixels,
        profiles=config.profiles,
        window_latents=config.window_latents,
        overlap_latents=config.overlap_latents,
        latents_fixed="trt" in config.engines,
        draft=config.draft,
        step_tables={config.steps: StepTable(tuple(table["sigmas"]), tuple(table["rows"]))},
        default_steps=config.steps,
        shift=config.shift,
        prompt="",
        precision="fp32",
        parameters=0,
        graphs={},
        weights={},
        models={},
    )


def windows(
    dit: BakedDit, videos: Sequence[Path], spec: GeneratorSpec, codec: Encoder, prior: Bundle
) -> Iterator[Window]:
    """What `dit` is given while it denoises a window of every stretch of text, step by step.

    Every window comes after `dit` has answered it: who only wants `dit` to have seen them need but exhaust this.
    `prior` is the bundle whose prior finds the text. At most `MOST_WINDOWS` windows of a video.
    Raises InputError where there is no text in any of the videos, and what reading them raises.
    """
    found, table, watched = 0, spec.step_tables[spec.default_steps], _Watched(dit)
    for video in videos:
        for control in _controls(frames.probe(video), spec, codec, prior):
            plan = plan_windows(len(control), spec.window_latents, spec.overlap_latents, "paper")
            noise = drawn(SEED, found)
            found += 1
            for _ in denoise(control, noise, watched, plan, table, "paper"):
                yield from watched.taken()
    if not found:
        raise InputError(
            f"expected clips with subtitles to calibrate on, found no text in {', '.join(map(str, videos)) or 'none'}; "
            "give clips as they will be cleaned"
        )


def _controls(info: frames.VideoInfo, spec: GeneratorSpec, codec: Encoder, prior: Bundle) -> Iterator[list[Floats]]:
    """The control latents [C, h, w] of a window of every run."""
    looking = Prior(OnnxEngine(prior), prior.prior.multiple_px)
    picture = Size(info.width_px, info.height_px)
    runs = _runs(info, spec, looking, working_size(*picture, prior.prior.short_side_px))
    placements = {run: place(run.box, picture, spec.multiple_px, spec.max_pixels, spec.profiles) for run in runs}
    outlining = Outlining.of(prior, looking, opened_outliner(prior), picture, MatteConfig())
    shown = _drafted(info, runs, outlining) if spec.draft else _plain(info)
    with closing(Leading(shown, info.path, placements, queue_frames(info), HostPictures(), Stopwatch())) as leading:
        for run in runs:
            yield list(
                encode(
                    codec,
                    leading.crops(run),
                    run.stop_frame - run.start_frame,
                    latent_channels=spec.latent_channels,
                    latent_px=spec.latent_px,
                    latent_frames=spec.latent_frames,
                )
            )


def _runs(info: frames.VideoInfo, spec: GeneratorSpec, prior: Prior, working: Size) -> list[RegionRun]:
    """The runs of a video, each cut to one window."""
    config, due_us, count = RegionConfig(), -(1 << 62), 0
    finder = RegionFinder(config, Size(info.width_px, info.height_px))

    def due(frame: frames.Frame) -> bool:
        return frame.time_us >= due_us

    with closing(looked(info, working, due)) as pictures:
        for frame, rgb in pictures:
            count += 1
            if rgb is not None:
                due_us = frame.time_us + config.scan_interval_us
                finder.add(Scan(frame.index, frame.time_us, prior(rgb)))
    window_frames = frames_of(spec.window_latents, spec.latent_frames)
    return [_middle(run, window_frames) for run in finder.finish(count)[:MOST_WINDOWS]]


def _middle(run: RegionRun, most_frames: int) -> RegionRun:
    """A run begins and ends up to a scan before and after its text: what lies between has the most of it."""
    spare = max(0, run.stop_frame - run.start_frame - most_frames)
    return replace(run, start_frame=run.start_frame + spare // 2, stop_frame=run.stop_frame - (spare - spare // 2))


def _drafted(info: frames.VideoInfo, runs: list[RegionRun], outlining: Outlining) -> Generator[Shown, None, None]:
    matting = Matting(info, runs, outlining, RegionConfig(), MatteConfig(), Stopwatch())
    # Not `leading`: it keeps every map for a pass behind it, and there is none.
    with closing(matting.writing()) as matted:
        for item, matte, _ in matted:
            yield item.frame, matte


def _plain(info: frames.VideoInfo) -> Generator[Shown, None, None]:
    with closing(frames.read(info)) as pictures:
        for frame in pictures:
            yield frame, None


class StepCodec:
    """The encoder's step as `latents.encode` calls it."""

    def __init__(self, step: EncoderStep) -> None:
        self._step, self._device = step, step.conv1.weight.device

    @torch.inference_mode()
    def encode(self, pictures: Floats, caches: Sequence[Any] | None) -> tuple[Floats, Sequence[Any]]:
        """As `clear_rt.runtime.engine.Engine.encode`."""
        latent, *kept = self._step(torch.from_numpy(pictures)[None].to(self._device), *(caches or ()))
        return latent[0, :, 0].float().cpu().numpy(), kept


class _Watched:
    """A model as denoising calls it, which keeps what it was asked until that is taken."""

    def __init__(self, dit: BakedDit) -> None:
        self._dit, self._kept = dit, list[Window]()

    @torch.inference_mode()
    def control(self, latents: Floats) -> Tensor:
        return self._dit.control(self._tensor(latents))

    @torch.inference_mode()
    def velocity(self, latents: Floats, control: Tensor, row: int) -> Floats:
        window = Window(self._tensor(latents), control, torch.tensor(row, device=control.device))
        self._kept.append(window)
        found: Floats = self._dit(*window)[0].float().cpu().numpy()
        return found

    def taken(self) -> Iterator[Window]:
        kept, self._kept = self._kept, []
        yield from kept

    def _tensor(self, latents: Floats) -> Tensor:
        return torch.from_numpy(latents).to(self._dit.time)[None]
