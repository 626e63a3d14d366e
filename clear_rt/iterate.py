"""Frames and arrays in the place of files: `clean_frames` of a video, `clean_arrays` of pictures in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable
from contextlib import closing
from fractions import Fraction
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clear_rt import frames
from clear_rt.config import RunConfig
from clear_rt.errors import ConfigError, InputError
from clear_rt.remover import Remover
from clear_rt.second_pass import Cleaned
from clear_rt.telling import Progress

UInt8 = NDArray[np.uint8]


class CleanFrame:
    """One frame with its text removed. `index` counts from 0, `time_us` is its time in microseconds, and `is_changed`
    says whether it differs from the source. `planes` are its samples as the source has them; nothing may be written.
    """

    def __init__(self, cleaned: Cleaned) -> None:
        self._cleaned = cleaned
        self.index, self.time_us = cleaned.source.index, cleaned.source.time_us
        self.is_changed = cleaned.result is not cleaned.source

    @property
    def planes(self) -> tuple[frames.Plane, ...]:
        return self._cleaned.result.planes

    @property
    def matte(self) -> UInt8:
        """uint8 [h, w] of the whole picture, at `shapes.outline_size`: 255 where it was replaced, 0 where not."""
        return self._cleaned.matte

    def rgb(self) -> UInt8:
        """The picture uint8 [H, W, 3], full range, upright."""
        planes = self.planes
        if planes[0].kind == "rgb" and planes[0].bits == 8:
            return np.stack([plane.samples for plane in planes[:3]], axis=2)
        height_px, width_px = planes[0].samples.shape
        return self._cleaned.result.rgb(height_px, width_px, exact=True)


def clean_frames(
    source: Path | str, config: RunConfig | None = None, progress: Progress | None = None
) -> Generator[CleanFrame, None, None]:
    """The frames of the video `source` with its burned-in subtitles removed, one after the other; nothing is written.

    The video is looked through once before the first of them. Memory does not grow with it, as long as frames are not
    kept. Close the generator (`contextlib.closing`) to stop early; `config.write` is not used.

    Raises:
        ClearError: one of its kinds, as `remove`.
    """
    with closing(Remover(config).cleaned(Path(source), progress)) as found:
        for cleaned in found:
            yield CleanFrame(cleaned)


def clean_arrays(
    pictures: Iterable[UInt8], config: RunConfig | None = None, *, rate: float = 25.0, progress: Progress | None = None
) -> Generator[UInt8, None, None]:
    """Pictures uint8 [H, W, 3], RGB, with their text removed, as many and in their order; what is no text keeps every
    bit.

    `rate` is in pictures per second: text is looked for in time. All pictures are taken before the first comes back;
    they wait in a temporary file without loss, and not in memory.

    Raises:
        InputError: no picture, or pictures that are not uint8 [H, W, 3] of one size.
        ConfigError: a rate that no video has.
        ClearError: one of its kinds, as `remove`.
    """
    if not (isfinite(rate) and 1e-3 <= rate <= 1e4):
        raise ConfigError(f"expected a rate of 0.001 to 10,000 pictures per second, got {rate}; give that of the video")
    with tempfile.TemporaryDirectory(prefix="clear-rt-") as folder:
        video = Path(folder) / "pictures.mkv"
        _stored(pictures, video, Fraction(rate).limit_denominator(1_001_000))
        with closing(clean_frames(video, config, progress)) as found:
            for frame in found:
                yield frame.rgb()


def _stored(pictures: Iterable[UInt8], video: Path, rate: Fraction) -> None:
    given = iter(pictures)
    first = next(given, None)
    if first is None:
        raise InputError("expected pictures uint8 [H, W, 3], got none; give one or more")
    _check(first, first, 0)
    height_px, width_px = first.shape[:2]
    with frames.PlainWriter(video, width_px, height_px, rate, frames.RGB_LOSSLESS) as writer:
        writer.write(first, 0)
        for index, picture in enumerate(given, start=1):
            _check(picture, first, index)
            writer.write(picture, round(1_000_000 * index / rate))


def _check(picture: UInt8, first: UInt8, index: int) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.shape != first.shape:
        raise InputError(
            f"expected pictures uint8 [H, W, 3] of one size, got {picture.dtype} {[*picture.shape]} at {index} after "
            f"{[*first.shape]}; convert them before"
        )
