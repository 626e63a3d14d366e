"""The stages that touch whole pictures, each by itself with the functions that `remove` calls, on the generated clip.

One pass of each per frame; `remove` overlaps them on threads, and decodes a file up to three times.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_rt import frames
from clear_rt.bench.clip import Clip
from clear_rt.bench.device import settle
from clear_rt.bench.samples import Clock, Samples
from clear_rt.config import CompositeConfig, MatteConfig, WriteConfig
from clear_rt.crops import place
from clear_rt.matte import grow_and_feather
from clear_rt.outlining import Outlining, opened_outliner
from clear_rt.pictures import Pictures
from clear_rt.prior import Prior
from clear_rt.profiles import Profile
from clear_rt.shapes import Size, rescale
from clear_rt.side import side_of

if TYPE_CHECKING:
    from clear_rt.bundle import Bundle
    from clear_rt.generator import GeneratorSpec
    from clear_rt.runtime.engine import Engine

VIDEO_DECODE, PRIOR, COMPOSITE, VIDEO_ENCODE = "video decode", "prior", "composite", "video encode"
WARMUP_FRAMES = 3


class PictureTimes(NamedTuple):
    """Times per frame by stage. An encoder holds frames back: `encode_flush_s` is what its end took on top."""

    stages: dict[str, Samples]
    encode_flush_s: float
    encoder: str


def measure_pictures(
    engine: Engine, bundle: Bundle, profile: Profile, clip: Clip, frames_measured: int
) -> PictureTimes:
    """Times over the clip's first `frames_measured` frames, after a few to warm up. Raises what the stages raise."""
    spec = bundle.generator
    assert spec is not None
    clock, info = Clock(settle()), frames.probe(clip.path)
    decoded = _decode(clock, info, min(WARMUP_FRAMES + frames_measured, clip.frames))
    prior = Prior(engine, bundle.prior.multiple_px)
    outlining = Outlining.of(bundle, prior, opened_outliner(bundle), profile.picture, MatteConfig())
    matte = _matte(clip.covered, outlining.outline)
    looks = _looks(outlining, profile)
    fills = _fills(side_of(engine).pictures, spec, profile, matte)
    results = []
    for i, frame in enumerate(decoded):
        clock.warming = i < WARMUP_FRAMES
        looks(clock, frame)
        results.append(fills(clock, frame))
    target = clip.path.with_name("encoded.mp4")
    with frames.Writer(info, target, WriteConfig()) as writer:
        for i, result in enumerate(results):
            clock.warming = i < WARMUP_FRAMES
            clock.timed(VIDEO_ENCODE, lambda frame=result: writer.write(frame))  # type: ignore[misc]
        encoder, begun = writer.encoder, perf_counter()
    return PictureTimes(clock.stages, perf_counter() - begun, encoder)


def _decode(clock: Clock, info: frames.VideoInfo, count: int) -> list[frames.Frame]:
    found = []
    with closing(frames.read(info)) as reader:
        for i in range(count):
            clock.warming = i < WARMUP_FRAMES
            found.append(clock.timed(VIDEO_DECODE, lambda: next(reader)))
    return found


def _looks(outlining: Outlining, profile: Profile) -> Callable[[Clock, frames.Frame], None]:
    """The prior inside the region, as for every frame of a run; the scan before looks at whole pictures, at few."""
    working = outlining.working
    box = rescale(profile.box, profile.picture, working)

    def look(clock: Clock, frame: frames.Frame) -> None:
        rgb = frame.rgb(working.height_px, working.width_px)
        clock.timed(PRIOR, lambda: outlining(rgb, [box], lambda size: frame.rgb(size.height_px, size.width_px)))

    return look


def _fills(
    pictures: Pictures, spec: GeneratorSpec, profile: Profile, matte: NDArray[np.uint8]
) -> Callable[[Clock, frames.Frame], frames.Frame]:
    """What follows the decoder: back to the region's size, to the frame's own samples, and into the frame."""
    placement = place(profile.box, profile.picture, spec.multiple_px, spec.max_pixels, spec.profiles)
    config = CompositeConfig(fill="model")
    shape = (placement.profile.height_px, placement.profile.width_px, 3)
    generated = pictures.shown([np.random.default_rng(0).integers(0, 256, shape, np.uint8)])[:, 0]

    def fill(clock: Clock, frame: frames.Frame) -> frames.Frame:
        return clock.timed(COMPOSITE, lambda: pictures.pasted(frame, placement, matte, config, generated))

    return fill


def _matte(covered: NDArray[np.bool_], outline: Size) -> NDArray[np.uint8]:
    """The matte uint8 [h, w] that a perfect prior would lead to, at the size at which text is outlined."""
    rows = np.arange(outline.height_px) * covered.shape[0] // outline.height_px
    columns = np.arange(outline.width_px) * covered.shape[1] // outline.width_px
    config = MatteConfig()
    return grow_and_feather(covered[rows[:, None], columns], config.dilate_px, config.feather_px)
