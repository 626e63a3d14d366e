"""How far what stands in the text's place moves from one frame to the next: mean and variance of the flow's length.

The paper prints "flow mean" and "flow variance" without saying of what. Here they are the length, in pixels, of the
step that DIS finds for every pixel inside the mask, taken over all pixels and pairs of frames together; the clip's own
flow, not the clean one's. Read them beside those of the clean clip: text that is left stands still, flicker jumps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt.metrics.flow import around, flow

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


class Motion(NamedTuple):
    """Of the flow's length: the mean in pixels and the variance in square pixels; None where no pixel was looked at."""

    mean_px: float | None
    variance_px2: float | None


class MotionSum:
    """Adds up pairs of frames one by one."""

    def __init__(self) -> None:
        self._pixels, self._lengths, self._squares = 0, 0.0, 0.0

    def add(self, before: UInt8, after: UInt8, mask: Bool) -> None:
        """Luma uint8 [H, W] of two neighbours, 16 pixels or more each way, and bool [H, W]: what of `before` counts."""
        if not mask.any():
            return
        area = around(mask)
        steps = flow(np.ascontiguousarray(before[area]), np.ascontiguousarray(after[area]))[mask[area]]
        squares = np.square(steps, dtype=np.float64).sum(axis=1)
        self._pixels += len(squares)
        self._lengths += float(np.sqrt(squares).sum())
        self._squares += float(squares.sum())

    def result(self) -> Motion:
        """The figures of all pairs added so far."""
        if not self._pixels:
            return Motion(None, None)
        mean_px = self._lengths / self._pixels
        return Motion(mean_px, max(self._squares / self._pixels - mean_px**2, 0.0))
