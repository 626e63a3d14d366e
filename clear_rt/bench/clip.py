"""A clip of the generated scene as a file: what the stages that touch pictures, and whole runs, are measured on."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_rt import frames
from clear_rt.bench.scene import Captions, Scene
from clear_rt.profiles import Profile
from clear_rt.shapes import Size, round_up

FPS = 25


class Clip(NamedTuple):
    """A file, how many frames it has, and where its captions are: bool [H, W] of its picture."""

    path: Path
    frames: int
    covered: NDArray[np.bool_]


def write_clip(path: Path, profile: Profile, total_frames: int) -> Clip:
    """H.264 4:2:0 in MP4 at 25 fps, captions on every frame, in the profile's region. Raises OutputError."""
    # 4:2:0 takes even sides only; every profile has them.
    assert profile.picture == Size(*(round_up(side, 2) for side in profile.picture))
    captions = Captions(profile.picture, profile.box)
    with frames.PlainWriter(path, *profile.picture, Fraction(FPS), frames.RGB_TO_WATCH) as writer:
        for time_us, picture in _timed(Scene(profile.picture).pictures(total_frames, captions)):
            writer.write(picture, time_us)
    return Clip(path, total_frames, captions.covered)


def _timed(pictures: Iterator[NDArray[np.uint8]]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for i, picture in enumerate(pictures):
        yield round(i * 1_000_000 / FPS), picture
