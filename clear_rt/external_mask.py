"""`--mask`: a video or a picture that says where the text is, in the place of the prior."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clear_rt import frames
from clear_rt.errors import InputError
from clear_rt.shapes import Size

Bytes = NDArray[np.uint8]
# A pixel of the map that an eighth of text covers is text: thin strokes of 4K would be lost otherwise.
_COVERED = 32


def masks(path: Path, size: Size) -> Generator[Bytes, None, None]:
    """A map uint8 [h, w] of a size for every frame, 255 where there is text; without end for a picture.

    Bright pixels are text, whatever the mask's size. Close it. Raises InputError where the file cannot be read, and
    when it ends.
    """

    def map_of(frame: frames.Frame) -> Bytes:
        shown = frame.rgb(size.height_px, size.width_px)[..., 1]
        return np.where(shown >= _COVERED, np.uint8(255), np.uint8(0))

    with closing(frames.read(path)) as pictures:
        first = map_of(next(pictures))
        second = next(pictures, None)
        if second is None:
            yield from repeat(first)
        yield first
        assert second is not None
        yield map_of(second)
        count = 2
        for count, frame in enumerate(pictures, start=3):  # noqa: B007 - used after the loop
            yield map_of(frame)
    raise InputError(f"--mask {path} ends after {count} frames, before the video; give one of the same length")
