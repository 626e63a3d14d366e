"""A whole run of `remove` with the model's fill, from file to file: what is left of the stages' speed in the end."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from clear_rt.bench.clip import Clip
from clear_rt.bench.pictures import COMPOSITE, PRIOR, VIDEO_DECODE, VIDEO_ENCODE
from clear_rt.config import CompositeConfig, DenoiseConfig, RegionConfig, RunConfig
from clear_rt.profiles import Profile
from clear_rt.remover import Remover
from clear_rt.second_pass import Cleaned

if TYPE_CHECKING:
    from clear_rt.bench.config import BenchConfig
    from clear_rt.bench.network import NetworkTimes, Window
    from clear_rt.bench.pictures import PictureTimes
    from clear_rt.bundle import Bundle
    from clear_rt.runtime.engine import Engine

STEADY_WINDOWS = 2
# `remove` decodes a file so often: to find text, to cut crops, to write.
_PASSES = 3


def frames_needed(window: Window) -> int:
    """Frames of a run of a first window and `STEADY_WINDOWS` more."""
    return window.frames + STEADY_WINDOWS * window.new_frames


def left_out(config: BenchConfig, network: NetworkTimes, pictures: PictureTimes, frames: int) -> str | None:
    """Why a run over so many frames is left out, None where it is not."""
    if config.end_to_end is not None:
        return None if config.end_to_end else "not asked for (--no-end-to-end)"
    per_frame_s = {name: samples.mean for name, samples in pictures.stages.items()}
    predicted_s = frames * (
        network.seconds_per_window / network.window.new_frames
        + _PASSES * per_frame_s[VIDEO_DECODE]
        + sum(per_frame_s[name] for name in (PRIOR, COMPOSITE, VIDEO_ENCODE))
    )
    if predicted_s <= config.end_to_end_limit_s:
        return None
    return (
        f"{frames} frames would take about {predicted_s:.0f} s, more than {config.end_to_end_limit_s:.0f}; "
        "give --end-to-end"
    )


def run_end_to_end(
    engine: Engine,
    bundle: Bundle,
    profile: Profile,
    clip: Clip,
    denoise: DenoiseConfig,
    window: Window,
) -> dict[str, Any]:
    """What a run over the whole clip took, JSON types; `left_out` with the reason where the run says nothing.

    The region is fixed to the profile's, so that its size is what was asked for; the prior has to see the text still.
    """
    assert bundle.generator is not None
    if denoise.policy != "reference":
        bounds = replace(bundle.generator, window_latents=window.latents, overlap_latents=window.overlap)
        bundle = replace(bundle, generator=bounds)
    config = RunConfig(
        region=RegionConfig(mode="fixed", boxes=(profile.box,)),
        composite=CompositeConfig(fill="model"),
        denoise=denoise,
    )
    remover, seen_s = Remover(config, bundle=bundle, engine=engine), list[float]()

    def observe(cleaned: Cleaned) -> None:
        seen_s.append(perf_counter())

    begun = perf_counter()
    report = remover(clip.path, clip.path.with_name("removed.mp4"), None, observe)
    filled = sum(run.stop_frame - run.start_frame for run in report.runs)
    if filled < clip.frames:
        return {"left_out": f"the prior saw text in {filled} of the clip's {clip.frames} frames only"}
    return {
        "frames": report.frames,
        "windows": report.windows,
        "seconds": report.seconds,
        "fps": report.frames / report.seconds,
        "first_frame_s": seen_s[0] - begun,
        "encoder": report.encoder,
        "stage_seconds": dict(report.stage_seconds),
    }
