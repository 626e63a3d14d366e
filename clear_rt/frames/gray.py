"""A lossless 8-bit gray video (FFV1 in Matroska) that appears whole or not at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

from clear_rt.errors import OutputError
from clear_rt.frames.atomic import Partial
from clear_rt.frames.failures import AV_ERRORS, reason

_FULL_RANGE = 2
_TIME_BASE = Fraction(1, 1_000_000)


class GrayWriter:
    """Context manager; leaving it without an exception gives the file its name, otherwise nothing is left behind.

    Times are kept to the millisecond, which is what Matroska holds.

    Raises:
        OutputError: the name does not end in .mkv, or the file cannot be written.
    """

    def __init__(self, target: Path, width_px: int, height_px: int, rate: Fraction) -> None:
        if target.suffix.lower() != ".mkv":
            raise OutputError(f"expected a mask name ending in .mkv, but got {target.name!r}; rename it")
        self._partial = Partial(target)
        try:
            self._container = av.open(self._partial.path, "w", format="matroska")
            stream = self._container.add_stream("ffv1", rate, options={"level": "3", "slicecrc": "1", "g": "1"})
        except AV_ERRORS as error:
            raise OutputError(f"{target} cannot be written: {reason(error)}; choose another place") from error
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "gray"
        stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.color_range = _FULL_RANGE
        self._stream = stream

    def __enter__(self) -> GrayWriter:
        return self

    def write(self, samples: NDArray[np.uint8], time_us: int) -> None:
        """Append uint8 [height_px, width_px], shown from `time_us` on."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(samples), "gray")
        picture.pts, picture.time_base = time_us, _TIME_BASE
        self._encode(picture)

    def _encode(self, picture: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(picture))
        except AV_ERRORS as error:
            raise OutputError(f"{self._partial.target} cannot be written: {reason(error)}; free some space") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._encode(None)
            self._container.close()
            if kind is None:
                self._partial.commit()
        except AV_ERRORS as failure:
            if kind is None:
                raise OutputError(f"{self._partial.target} could not be completed: {reason(failure)}") from failure
        finally:
            self._partial.discard()
