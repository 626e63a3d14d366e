"""Peak signal-to-noise ratio on 8-bit RGB, streamed: exact integer sums, bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]

# What an identical frame counts in a mean over frames, which infinity would swallow.
IDENTICAL_FRAME_DB = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Psnr:
    """Decibels; `inf` where all samples are equal, None where there was no sample to compare.

    `frame_db`, `inside_db` and `outside_db` come from the squared error averaged over all frames (whole picture, inside
    the mask, outside it); `mean_of_frames_db` is the mean of each frame's own figure, at most 100 dB each.
    """

    frame_db: float | None
    inside_db: float | None
    outside_db: float | None
    mean_of_frames_db: float | None


@dataclass(frozen=True, slots=True)
class SquaredError:
    """The summed squared error of a number of 0..255 samples."""

    squares: int = 0
    samples: int = 0

    def __add__(self, other: SquaredError) -> SquaredError:
        return SquaredError(self.squares + other.squares, self.samples + other.samples)

    def decibels(self) -> float | None:
        """`inf` where all samples are equal, None where there was none."""
        if self.samples == 0:
            return None
        return 10 * math.log10(255**2 * self.samples / self.squares) if self.squares else math.inf


def squared_error(picture: UInt8, reference: UInt8) -> Int32:
    """The squared difference of two uint8 [H, W, 3], summed over the channels: int32 [H, W]."""
    difference = picture.astype(np.int16) - reference
    red, green, blue = (np.multiply(difference[..., i], difference[..., i], dtype=np.int32) for i in range(3))
    squares: Int32 = red + green + blue
    return squares


def summed(squares: Int32, where: Bool) -> SquaredError:
    """Of the pixels that bool [H, W] chooses, from their `squared_error`."""
    return SquaredError(int(squares[where].sum(dtype=np.int64)), 3 * int(np.count_nonzero(where)))


class PsnrSum:
    """Adds up frames one by one; `result()` may be asked at any time."""

    def __init__(self) -> None:
        self._frame, self._inside, self._outside = SquaredError(), SquaredError(), SquaredError()
        self._frames, self._frames_db = 0, 0.0

    def add(self, picture: UInt8, reference: UInt8, mask: Bool | None) -> None:
        """One frame: two uint8 [H, W, 3] in 0..255 and the bool [H, W] that says what is inside, where it is known."""
        squares = squared_error(picture, reference)
        frame = SquaredError(int(squares.sum(dtype=np.int64)), picture.size)
        self._frame += frame
        if mask is not None:
            inside = summed(squares, mask)
            self._inside += inside
            self._outside += SquaredError(frame.squares - inside.squares, frame.samples - inside.samples)
        frame_db = frame.decibels()
        if frame_db is not None:
            self._frames += 1
            self._frames_db += min(frame_db, IDENTICAL_FRAME_DB)

    def result(self) -> Psnr:
        """The figures of all frames added so far."""
        return Psnr(
            frame_db=self._frame.decibels(),
            inside_db=self._inside.decibels(),
            outside_db=self._outside.decibels(),
            mean_of_frames_db=self._frames_db / self._frames if self._frames else None,
        )
