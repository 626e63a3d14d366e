"""What became of the input: the result beside the source, in the samples as they were decoded and in RGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clear_rt.frames.frame import Frame, Plane
from clear_rt.metrics.psnr import SquaredError, squared_error, summed

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The result compared with the source it was made of.

    `samples` is the share (0..1) of samples of all planes that differ, `samples_outside` that of the samples outside
    the mask; a chroma sample is outside where none of its pixels is inside. Both are None where the two files hold
    pictures of different layouts or depths, and what was compressed again differs nearly everywhere. `outside_db` is
    the PSNR of RGB outside the mask, `pixels_outside` the number of pixels there whose RGB differs.
    """

    samples: float | None
    samples_outside: float | None
    outside_db: float | None
    pixels_outside: int


class ChangesSum:
    """Adds up frames one by one."""

    def __init__(self) -> None:
        self._error_outside, self._pixels_outside = SquaredError(), 0
        self._comparable = True
        self._samples, self._changed = 0, 0
        self._samples_outside, self._changed_outside = 0, 0

    def add(self, source: Frame, result: Frame, source_rgb: UInt8, result_rgb: UInt8, mask: Bool) -> None:
        """One frame of both, its RGB uint8 [H, W, 3] of both, and bool [H, W], True inside the mask."""
        squares, outside = squared_error(result_rgb, source_rgb), ~mask
        self._error_outside += summed(squares, outside)
        self._pixels_outside += int(np.count_nonzero((squares > 0) & outside))
        self._comparable = self._comparable and _layout(source) == _layout(result)
        if self._comparable:
            for before, after in zip(source.planes, result.planes, strict=True):
                self._add_plane(before, after, mask)

    def result(self) -> Changes:
        """The figures of all frames added so far."""
        return Changes(
            samples=self._changed / self._samples if self._comparable and self._samples else None,
            samples_outside=self._changed_outside / self._samples_outside
            if self._comparable and self._samples_outside
            else None,
            outside_db=self._error_outside.decibels(),
            pixels_outside=self._pixels_outside,
        )

    def _add_plane(self, before: Plane, after: Plane, mask: Bool) -> None:
        changed: Bool = np.not_equal(before.samples >> before.shift, after.samples >> after.shift)
        outside = ~_covered(mask, before.step_y_px, before.step_x_px)
        self._samples += changed.size
        self._changed += int(np.count_nonzero(changed))
        self._samples_outside += int(np.count_nonzero(outside))
        self._changed_outside += int(np.count_nonzero(changed & outside))


def _layout(frame: Frame) -> list[tuple[str, int, int, int]]:
    return [(plane.kind, plane.step_x_px, plane.step_y_px, plane.bits) for plane in frame.planes]


def _covered(mask: Bool, step_y_px: int, step_x_px: int) -> Bool:
    """Bool [ceil(H / step_y_px), ceil(W / step_x_px)]: whether any pixel of the sample is inside."""
    height_px, width_px = mask.shape
    padded = np.pad(mask, ((0, -height_px % step_y_px), (0, -width_px % step_x_px)))
    covered = padded[::step_y_px, ::step_x_px].copy()
    for y_px, x_px in np.ndindex(step_y_px, step_x_px):
        covered |= padded[y_px::step_y_px, x_px::step_x_px]
    return covered
