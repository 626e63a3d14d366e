"""What neighbouring frames say of a clip: warping error, similarity, motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clear_rt.metrics.flow import LEAST_SIDE_PX, luma
from clear_rt.metrics.motion import MotionSum
from clear_rt.metrics.ssim import ssim_within
from clear_rt.metrics.warping import WarpingSum

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """One clip over pairs of neighbouring frames; None: not measured, or nothing to measure.

    `warping` is the mean squared difference of luma (0..255 squared) to the next frame along the motion, inside the
    mask (`metrics.warping`). The motion is the clean video's; without one, the result's own, which follows some of its
    flicker. `consistency` is the mean SSIM of a frame and the next, without motion, over the whole picture, and
    `consistency_inside` over the windows whose middle is inside the mask of either. `flow_mean_px` and
    `flow_variance_px2` are the clip's own motion inside the mask (`metrics.motion`). Where there is no mask, the whole
    picture counts as inside. A scene that moves has its share in all of them: compare with the clean clip.
    """

    warping: float | None = None
    consistency: float | None = None
    consistency_inside: float | None = None
    flow_mean_px: float | None = None
    flow_variance_px2: float | None = None


class NeighboursSum:
    """Adds up frames of `clips` one by one, holding two of each; the first of them leads the motion.

    Pairs begin at frames that are `sampled`, so that memory and time are those of the sample.
    """

    def __init__(self, clips: Sequence[str]) -> None:
        self._clips = tuple(clips)
        self._warping = WarpingSum(len(self._clips) - 1)
        self._motions = {name: MotionSum() for name in self._clips}
        self._consistency = {name: _Mean() for name in self._clips}
        self._inside = {name: _Mean() for name in self._clips}
        self._before: tuple[dict[str, UInt8], Bool | None] | None = None

    def add(self, rgb: Mapping[str, UInt8], mask: Bool | None, *, sampled: bool) -> None:
        """The next frame: uint8 [H, W, 3] of every clip by its name, and bool [H, W] where there is a mask."""
        before, self._before = self._before, None
        if before is None and not sampled:
            return
        pictures = {name: rgb[name] for name in self._clips}
        self._warp(pictures, mask, follows=before is not None)
        if before is not None:
            self._compare(*before, pictures, mask)
        if sampled:
            self._before = pictures, mask

    def result(self) -> dict[str, Neighbours]:
        """The figures of every clip by its name."""
        found = self._warping.result()
        warping = dict(zip(self._clips, (found.clean, *found.judged), strict=True))
        return {name: self._of(name, warping[name]) for name in self._clips}

    def _of(self, name: str, warping: float | None) -> Neighbours:
        motion = self._motions[name].result()
        return Neighbours(
            warping=warping,
            consistency=self._consistency[name].result(),
            consistency_inside=self._inside[name].result(),
            flow_mean_px=motion.mean_px,
            flow_variance_px2=motion.variance_px2,
        )

    def _warp(self, pictures: Mapping[str, UInt8], mask: Bool | None, *, follows: bool) -> None:
        leader, *others = (pictures[name] for name in self._clips)
        if min(leader.shape[:2]) < LEAST_SIDE_PX:
            return
        if not follows:
            self._warping.cut()
        self._warping.add(leader, others, np.ones(leader.shape[:2], bool) if mask is None else mask)

    def _compare(
        self, before: Mapping[str, UInt8], mask_before: Bool | None, after: Mapping[str, UInt8], mask: Bool | None
    ) -> None:
        either = None if mask is None or mask_before is None else mask | mask_before
        for name in self._clips:
            whole, inside = ssim_within(before[name], after[name], either)
            self._consistency[name].add(whole)
            self._inside[name].add(whole if either is None else inside)
            if min(before[name].shape[:2]) >= LEAST_SIDE_PX:
                counted = np.ones(before[name].shape[:2], bool) if mask_before is None else mask_before
                self._motions[name].add(luma(before[name]), luma(after[name]), counted)


class _Mean:
    def __init__(self) -> None:
        self._count, self._total = 0, 0.0

    def add(self, value: float | None) -> None:
        if value is not None:
            self._count, self._total = self._count + 1, self._total + value

    def result(self) -> float | None:
        return self._total / self._count if self._count else None
