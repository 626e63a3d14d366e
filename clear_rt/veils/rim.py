"""Samples along the edges of a box: lines just outside of it, just inside, and as far again outside."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from clear_rt.composite import PlaneLike
from clear_rt.shapes import Box, Size

Floats = npt.NDArray[np.float32]
Side = Literal["top", "bottom", "left", "right"]
SIDES: tuple[Side, ...] = ("top", "bottom", "left", "right")
LYING, BEGINNINGS = ("top", "bottom"), ("top", "left")

# Codecs blur an edge, and the place of one may be wrong by a pixel: lines lie three pixels apart.
_GAP_PX = 1
# Longer lines are thinned out to so many samples at most.
_MOST_SAMPLES = 400
# Less than that is no box, but a rim.
_LEAST_BOX_PX = 8


class Edges(NamedTuple):
    """Where a box of the picture begins and ends, in pixels; ends are exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def of(cls, box: Box) -> Self:
        return cls(box.y_px, box.bottom_px, box.x_px, box.right_px)

    @property
    def box(self) -> Box:
        return Box(self.left, self.top, self.right - self.left, self.bottom - self.top)

    @property
    def is_box(self) -> bool:
        """Whether ends come after beginnings, with something between them."""
        return min(self.bottom - self.top, self.right - self.left) >= _LEAST_BOX_PX

    def at(self, side: Side) -> int:
        return self[SIDES.index(side)]

    def moved(self, side: Side, at_px: int) -> Edges:
        """With one side elsewhere."""
        return self._replace(**{side: at_px})

    def shrunk(self, margin_px: int) -> Edges:
        """With every side so much farther inwards."""
        return Edges(self.top + margin_px, self.bottom - margin_px, self.left + margin_px, self.right - margin_px)

    @property
    def is_lying(self) -> bool:
        """Whether it is wider than it is high, as lines of most scripts are."""
        return self.right - self.left >= self.bottom - self.top

    def length_px(self, side: Side) -> int:
        return self.right - self.left if side in LYING else self.bottom - self.top


class Lines(NamedTuple):
    """Levels of 8 bits, float32 [places, n], on lines along places of an edge."""

    outer: Floats
    inner: Floats
    further: Floats


def lines(plane: PlaneLike, side: Side, places_px: npt.NDArray[np.intp], along_px: slice) -> Lines:
    """What a plane shows beside an edge on this `side` of a box, were it at each of the places.

    `along_px` are the pixels along the edge that count. All places lie in `places_within` the picture.
    """
    lying = side in LYING
    across, along = (plane.step_y_px, plane.step_x_px) if lying else (plane.step_x_px, plane.step_y_px)
    samples = plane.samples if lying else plane.samples.T
    # Subsampled samples are made of their neighbours, too: one more is left out.
    more = int(across > 1)
    low = (places_px - 1 - _GAP_PX) // across - more
    high = (places_px + _GAP_PX) // across + more
    outer, inner = (low, high) if side in BEGINNINGS else (high, low)
    further = 2 * outer - inner
    first, stop = -(-along_px.start // along), along_px.stop // along
    part = slice(first, stop, max(1, -(-(stop - first) // _MOST_SAMPLES)))
    inside = (np.clip(rows, 0, samples.shape[0] - 1) for rows in (outer, inner, further))
    return Lines(*(levels_of(samples[rows, part], plane) for rows in inside))


def places_within(picture: Size, side: Side, first_px: int, stop_px: int) -> npt.NDArray[np.intp]:
    """The places from `first_px` on that have a line on either side."""
    limit_px = picture.height_px if side in LYING else picture.width_px
    return np.arange(max(first_px, 1 + _GAP_PX), min(stop_px, limit_px - _GAP_PX))


def levels_of(stored: npt.NDArray[Any], plane: PlaneLike) -> Floats:
    """Samples of a plane as float32, in levels of 8 bits."""
    return (stored >> plane.shift).astype(np.float32) * np.float32(2.0 ** (8 - plane.bits))
