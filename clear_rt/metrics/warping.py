"""Temporal warping error: how far a clip departs from itself when the motion of another, as a rule the clean one, is
followed.

Flicker and crawling texture raise it, and so does every error of the flow, which the clean clip's own figure measures.
A fill without any texture gets away with less than the clean clip: read it beside PSNR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from clear_rt.metrics.flow import LEAST_SIDE_PX, around, flow, luma, moved

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

# A pixel is occluded where the way there and back ends further off than this (Sundaram et al. 2010).
_SHARE_OF_SQUARES, _SLACK_PX2 = 0.01, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Warping:
    """Mean squared differences of luma (0..255 squared) over the same `pixels`; None where there were none."""

    pixels: int
    clean: float | None
    judged: tuple[float | None, ...]

    def ratios(self) -> tuple[float | None, ...]:
        """Every judged clip's figure by the clean clip's own; None where that is 0 or there is none."""
        return tuple(value / self.clean if value is not None and self.clean else None for value in self.judged)


@dataclass(frozen=True, slots=True)
class _Pictures:
    """One frame: uint8 luma that the flow looks at, float32 [clips, H, W] luma (the clean clip first), bool mask."""

    flow_luma: UInt8
    lumas: Float
    mask: Bool

    def part(self, area: tuple[slice, slice]) -> _Pictures:
        """A rectangle of it. The search takes no picture with gaps between its rows."""
        return _Pictures(np.ascontiguousarray(self.flow_luma[area]), self.lumas[:, *area], self.mask[area])


class WarpingSum:
    """Adds up frames one by one, holding two of them; `clips` are judged beside the clean one."""

    def __init__(self, clips: int = 1) -> None:
        self._clips = clips
        self._before: _Pictures | None = None
        self._squares, self._pixels = np.zeros(1 + clips), 0

    def add(self, clean: UInt8, judged: Sequence[UInt8], mask: Bool) -> None:
        """The next frame: uint8 [H, W, 3] of the clean and of every judged clip, 16 pixels or more each way, and bool
        [H, W], the pixels to look at. A pixel counts where it, or what it moves to in the next frame, is in the mask.

        Raises:
            ValueError: shapes, types or the number of clips are others than these, or than those of the frame before.
        """
        self._check(clean, judged, mask)
        lumas = np.stack([cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2GRAY) for rgb in (clean, *judged)])
        after = _Pictures(luma(clean), lumas, mask.copy())
        before, self._before = self._before, after
        if before is not None and (masks := before.mask | mask).any():
            area = around(masks)
            self._compare(before.part(area), after.part(area))

    def cut(self) -> None:
        """The next frame does not follow the one before."""
        self._before = None

    def result(self) -> Warping:
        """The figures of all frames added so far."""
        means = [float(squares) / self._pixels if self._pixels else None for squares in self._squares]
        return Warping(pixels=self._pixels, clean=means[0], judged=tuple(means[1:]))

    def _compare(self, before: _Pictures, after: _Pictures) -> None:
        there, back = flow(before.flow_luma, after.flow_luma), flow(after.flow_luma, before.flow_luma)
        height_px, width_px = before.mask.shape
        rows, columns = np.mgrid[:height_px, :width_px].astype(np.float32)
        x_px, y_px = columns + there[..., 0], rows + there[..., 1]
        seen = (x_px >= 0) & (x_px <= width_px - 1) & (y_px >= 0) & (y_px <= height_px - 1)
        seen &= _returns(there, moved(back, x_px, y_px))
        counted = seen & (before.mask | (moved(after.mask.astype(np.float32), x_px, y_px) >= 0.5))
        self._pixels += int(np.count_nonzero(counted))
        for clip, (here, next_one) in enumerate(zip(before.lumas, after.lumas, strict=True)):
            difference = (moved(next_one, x_px, y_px) - here)[counted]
            self._squares[clip] += np.square(difference, dtype=np.float64).sum()

    def _check(self, clean: UInt8, judged: Sequence[UInt8], mask: Bool) -> None:
        if clean.ndim != 3 or clean.shape[2] != 3 or min(clean.shape[:2]) < LEAST_SIDE_PX:
            raise ValueError(f"expected a clean picture [H, W, 3] of {LEAST_SIDE_PX} pixels or more, got {clean.shape}")
        if len(judged) != self._clips:
            raise ValueError(f"expected pictures of {self._clips} judged clips, got {len(judged)}")
        for picture in (clean, *judged):
            if picture.shape != clean.shape or picture.dtype != np.uint8:
                raise ValueError(
                    f"expected uint8 {clean.shape} like the clean one, got {picture.dtype} {picture.shape}"
                )
        if mask.shape != clean.shape[:2] or mask.dtype != np.bool_:
            raise ValueError(f"expected a bool mask of {clean.shape[:2]}, got {mask.dtype} {mask.shape}")
        if self._before is not None and mask.shape != self._before.mask.shape:
            raise ValueError(f"expected a picture of {self._before.mask.shape} like the one before, got {mask.shape}")


def _returns(there: Float, back: Float) -> Bool:
    """Where the way there and the way back found at its end cancel out."""
    squares = np.square(there).sum(axis=2) + np.square(back).sum(axis=2)
    closed: Bool = np.square(there + back).sum(axis=2) <= _SHARE_OF_SQUARES * squares + _SLACK_PX2
    return closed
