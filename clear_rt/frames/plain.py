"""A video of plain arrays, without a source to follow: masks and comparisons. It appears whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from clear_rt.errors import OutputError
from clear_rt.frames.atomic import Partial, muxer_for
from clear_rt.frames.failures import AV_ERRORS, reason, remedy

_MPEG_RANGE, _FULL_RANGE = 1, 2
_TIME_BASE = Fraction(1, 1_000_000)


@dataclass(frozen=True, slots=True)
class PlainFormat:
    """What the arrays are, how they are encoded, and the names of files that can hold the result."""

    samples: str
    encoder: str
    pixel_format: str
    color_range: int
    options: tuple[tuple[str, str], ...]
    suffixes: tuple[str, ...]


GRAY_LOSSLESS = PlainFormat(
    "gray", "ffv1", "gray", _FULL_RANGE, (("level", "3"), ("slicecrc", "1"), ("g", "1")), (".mkv",)
)
RGB_TO_WATCH = PlainFormat(
    "rgb24", "libx264", "yuv420p", _MPEG_RANGE, (("crf", "16"), ("preset", "fast")), (".mp4", ".mkv", ".mov")
)
RGB_LOSSLESS = PlainFormat(
    "rgb24", "ffv1", "bgr0", _FULL_RANGE, (("level", "3"), ("slicecrc", "1"), ("g", "1")), (".mkv",)
)


class PlainWriter:
    """Context manager; leaving it without an exception gives the file its name, otherwise nothing is left behind.

    Without a single `write` there is no file either. Matroska keeps times to the millisecond, MP4 to the microsecond.

    Raises:
        OutputError: the name has another ending than the format allows, or the file cannot be written.
    """

    def __init__(self, target: Path, width_px: int, height_px: int, rate: Fraction, form: PlainFormat) -> None:
        if target.suffix.lower() not in form.suffixes:
            endings = " or ".join(form.suffixes)
            raise OutputError(f"expected a name ending in {endings}, but got {target.name!r}; rename it")
        self._form = form
        self._is_empty = True
        self._partial = Partial(target)
        try:
            self._container = av.open(self._partial.path, "w", format=muxer_for(target))
            stream = self._container.add_stream(form.encoder, rate, options=dict(form.options))
        except AV_ERRORS as error:
            raise OutputError(f"{target} cannot be written: {reason(error)}; {remedy(error)}") from error
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, form.pixel_format
        stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.color_range = form.color_range
        self._stream = stream

    def __enter__(self) -> PlainWriter:
        return self

    def write(self, samples: NDArray[np.uint8], time_us: int) -> None:
        """Append uint8 [height_px, width_px] (gray) or [height_px, width_px, 3] (RGB), shown from `time_us` on."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(samples), self._form.samples)
        picture.pts, picture.time_base = time_us, _TIME_BASE
        self._encode(picture)
        self._is_empty = False

    def _encode(self, picture: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(picture))
        except AV_ERRORS as error:
            raise OutputError(f"{self._partial.target} cannot be written: {reason(error)}; {remedy(error)}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._is_empty:
                self._complete()
        finally:
            with suppress(*AV_ERRORS):
                self._container.close()
            self._partial.discard()

    def _complete(self) -> None:
        self._encode(None)
        try:
            self._container.close()
        except AV_ERRORS as error:
            raise OutputError(
                f"{self._partial.target} could not be completed: {reason(error)}; {remedy(error)}"
            ) from error
        self._partial.commit()
