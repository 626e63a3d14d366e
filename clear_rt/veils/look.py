"""One frame around one part of its matte: whether a veil ends here or there, and how well its blend explains that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt.composite import PlaneLike, full_plane
from clear_rt.frames import Frame
from clear_rt.shapes import Size
from clear_rt.veils.blend import Blend, Pair, levels_behind
from clear_rt.veils.rim import BEGINNINGS, LYING, SIDES, Edges, Lines, Side, lines, places_within

# An edge may lie so much of the part's short side within the part of the matte, half as much outside of it, and at the
# farthest.
_REACH_SHARE, _LEAST_REACH_PX, _LEAST_OUTSIDE_PX, _FAR_SHARE = 0.2, 8, 4, 0.5
# Corners may be round: a sixth of an edge counts at neither end.
_CORNER, _LEAST_MARGIN_PX = 6, 4
# And what counts may break in no quarter next to a corner.
_ENDS = 4
# A box whose matte comes so near to the picture's border reaches it, or ends somewhere there: that much more than its
# rim is filled. And so far outside of a box its matte ends.
_BORDER_PX, _MATTE_PX = 2, 2
# An edge of a veil is a step that is so many times as large as what is left when it is taken for one.
_LEAST_STEP = 2.0
# Levels that a picture, taken out from under a veil, may differ across its edge beyond twice what it does beside it.
_NATURAL_TIMES, _NATURAL_LEVELS = 2, 3
_CLEARLY = 1.5
_ALL = (0, 255)
_LIMITED = {"luma": (16, 235), "chroma": (16, 240), "rgb": _ALL}


class Picture(NamedTuple):
    """The planes of an upright picture but alpha; that of index `full` has the resolution of its pixels.

    `limits` are the darkest and the brightest level of 8 bits that every plane may hold.
    """

    size: Size
    planes: Sequence[PlaneLike]
    full: int
    limits: Sequence[tuple[int, int]]


def picture_of(frame: Frame) -> Picture:
    """Of a frame; its planes are those of the frame."""
    planes = [plane for plane in frame.planes if plane.kind != "alpha"]
    full = full_plane(planes)
    rows, columns = planes[full].samples.shape
    all_codes = frame.codes.full_range
    limits = [_ALL if all_codes else _LIMITED[plane.kind] for plane in planes]
    return Picture(Size(columns, rows), planes, full, limits)


class Shown(NamedTuple):
    """Median differences across an edge, in levels: of the picture when lifted, as it is, and beside the edge."""

    lifted: float
    source: float
    natural: float

    @property
    def goes_on(self) -> bool:
        """Whether the picture goes on across the edge when it is lifted, and does not as it is."""
        return self.lifted <= self._most and self.source >= _CLEARLY * self.lifted

    @property
    def breaks(self) -> bool:
        """Whether it goes on as it is, and does not when it is lifted."""
        return self.lifted > self._most and self.lifted > _CLEARLY * self.source

    @property
    def evidence(self) -> float:
        """How much smaller the step across the edge gets, as a logarithm."""
        return log((self.source + 1) / (self.lifted + 1))

    @property
    def _most(self) -> float:
        return _NATURAL_TIMES * self.natural + _NATURAL_LEVELS


class Look:
    """`part` is a part of the matte that may be a veil, `borders` its sides at the picture's border."""

    def __init__(self, picture: Picture, part: Edges) -> None:
        self.picture, self.part = picture, part
        self._reach_px = max(_LEAST_REACH_PX, round(_REACH_SHARE * min(part.box.width_px, part.box.height_px)))
        self._outside_px = max(_LEAST_OUTSIDE_PX, self._reach_px // 2)
        self._far_outside_px = round(_FAR_SHARE * min(part.box.width_px, part.box.height_px))
        width_px, height_px = picture.size
        self._limits = Edges(0, height_px, 0, width_px)
        self.borders = frozenset(side for side in SIDES if abs(part.at(side) - self._limits.at(side)) <= _BORDER_PX)

    def is_of(self, part: Edges) -> bool:
        """Whether another part is about the same."""
        return all(abs(here - there) <= self._reach_px for here, there in zip(self.part, part, strict=True))

    @cached_property
    def around(self) -> Edges:
        """Where edges are as long as nothing is known of them."""
        return self._inner(_MATTE_PX)

    @cached_property
    def surely_inside(self) -> Edges:
        """Where the veil is, if there is one at all."""
        return self._inner(self._reach_px)

    @cached_property
    def _far(self) -> dict[Side, tuple[npt.NDArray[np.intp], Lines | None]]:
        """All places at which an edge may lie, with their lines."""
        places = {side: self._places(side, self._far_outside_px) for side in SIDES}
        return {side: (at_px, self._lines(side, at_px)) for side, at_px in places.items()}

    def step(self, side: Side) -> int | None:
        """The place on this side where what is inside depends most on what is outside, yet is not the same."""
        places = self._places(side, self._outside_px)
        found = self._lines(side, places)
        if found is None:
            return None
        outer, inner, _ = found
        x, y = (values - np.median(values, axis=1, keepdims=True) for values in (outer, inner))
        share = np.clip((x * y).sum(axis=1) / np.maximum((x * x).sum(axis=1), 1), 0, 2)
        left = y - share[:, None] * x
        left -= np.median(left, axis=1, keepdims=True)
        steps = np.median(np.abs(inner - outer), axis=1) / (np.median(np.abs(left), axis=1) + 0.5)
        best = int(steps.argmax())
        return int(places[best]) if steps[best] >= _LEAST_STEP else None

    def settled(self, edges: Edges, blend: Blend) -> tuple[Edges, dict[Side, Shown]]:
        """All edges by a blend, with what those that are seen show; the others surely inside of the veil."""
        seen = {}
        for side in SIDES:
            found = self.place(edges, side, blend)
            edges = edges.moved(side, self.surely_inside.at(side) if found is None else found[0])
            if found is not None:
                seen[side] = found[1]
        return edges, seen

    def place(self, edges: Edges, side: Side, blend: Blend) -> tuple[int, Shown] | None:
        """Where the picture goes on across this side when it is lifted and most clearly does not as it is, if anywhere.

        Also far outside of the part: mattes end before some boxes do.
        """
        places, found = self._far[side]
        if found is None:
            return None
        behind = levels_behind(found.inner, blend, self.picture.full)
        lifted, source = (np.median(np.abs(inner - found.outer), axis=1) for inner in (behind, found.inner))
        place = int(places[int(((source + 1) / (lifted + 1)).argmax())])
        shown = self.shown(edges.moved(side, place), side, blend)
        return (place, shown) if shown is not None and shown.goes_on else None

    def shown(self, edges: Edges, side: Side, blend: Blend) -> Shown | None:
        """None where a line of the edge lies outside of the picture."""
        found = self._at(self.picture.planes[self.picture.full], edges, side)
        return None if found is None else self._shown(found, blend, slice(None))

    def breaks(self, edges: Edges, side: Side, blend: Blend) -> bool:
        """Whether the picture goes on across an edge as it is, and does not when it is lifted."""
        shown = self.shown(edges, side, blend)
        return shown is not None and shown.breaks

    def is_near(self, edges: Edges, side: Side) -> bool:
        """Whether an edge lies where that of the part could be."""
        return abs(edges.at(side) - self.part.at(side)) <= max(self._reach_px, self._far_outside_px)

    def has_ends(self, edges: Edges, side: Side, blend: Blend) -> bool:
        """Whether an edge goes from corner to corner: lines of text with boxes of their own make steps."""
        found = self._at(self.picture.planes[self.picture.full], edges, side)
        if found is None:
            return True
        end = max(1, found.outer.shape[1] // _ENDS)
        return not any(self._shown(found, blend, part).breaks for part in (slice(end), slice(-end, None)))

    def pairs(self, edges: Edges, sides: Iterable[Side]) -> list[Pair]:
        """What all planes show outside and inside of some edges; empty where that is nothing."""
        pairs = []
        for plane in self.picture.planes:
            found = [one for side in SIDES if side in sides and (one := self._at(plane, edges, side)) is not None]
            if not found:
                return []
            pairs.append(Pair(*(np.concatenate([one[i].ravel() for one in found]) for i in (0, 1))))
        return pairs

    def _shown(self, found: Lines, blend: Blend, part: slice) -> Shown:
        outer, inner, further = (line[:, part] for line in found)
        differences = (levels_behind(inner, blend, self.picture.full) - outer, inner - outer, outer - further)
        return Shown(*(float(np.median(np.abs(values))) for values in differences))

    def _inner(self, margin_px: int) -> Edges:
        inner, outermost = self.part.shrunk(margin_px), self._limits.shrunk(_BORDER_PX)
        for side in self.borders:
            inner = inner.moved(side, outermost.at(side))
        return inner

    def _places(self, side: Side, outside_px: int) -> npt.NDArray[np.intp]:
        at_px, inside_px = self.part.at(side), self._reach_px
        before_px, after_px = (outside_px, inside_px) if side in BEGINNINGS else (inside_px, outside_px + 1)
        return places_within(self.picture.size, side, at_px - before_px, at_px + after_px)

    def _lines(self, side: Side, places: npt.NDArray[np.intp]) -> Lines | None:
        return self._beside(self.picture.planes[self.picture.full], self.part, side, places)

    def _at(self, plane: PlaneLike, edges: Edges, side: Side) -> Lines | None:
        at_px = edges.at(side)
        return self._beside(plane, edges, side, places_within(self.picture.size, side, at_px, at_px + 1))

    def _beside(self, plane: PlaneLike, edges: Edges, side: Side, places: npt.NDArray[np.intp]) -> Lines | None:
        """Lines along an edge, away from its corners; None where that is nothing."""
        start, stop = (edges.left, edges.right) if side in LYING else (edges.top, edges.bottom)
        margin_px = max(_LEAST_MARGIN_PX, min(self._reach_px, (stop - start) // _CORNER))
        if not places.size or stop - start - 2 * margin_px < _LEAST_REACH_PX:
            return None
        return lines(plane, side, places, slice(start + margin_px, stop - margin_px))
