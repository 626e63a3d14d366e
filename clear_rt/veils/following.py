"""Where veils are and what they make of the picture, from frame to frame.

A box is taken for a veil where the picture, taken out from under it, goes on across its edges as the picture beside
them does. What was measured in one frame counts in the next ones, as long as these do not say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import log
from operator import itemgetter
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from clear_rt.composite import HOLE_ALPHA
from clear_rt.shapes import Box, Size, rescale
from clear_rt.states import StateError, Stored, integers, numbered, packed, unpacked
from clear_rt.veils.blend import MOMENTS, Blend, Moments, blend_of, is_telling, moments_near, moments_of
from clear_rt.veils.letters import hold_text, letters
from clear_rt.veils.look import Look, Picture, Shown
from clear_rt.veils.rim import SIDES, Edges, Side

UInt8 = npt.NDArray[np.uint8]

# Smaller parts of a matte are letters, not boxes; and of its rectangle a box covers so much.
_LEAST_WIDTH_PX, _LEAST_HEIGHT_PX, _LEAST_COVERED = 32, 14, 0.7
# Parts of a region that are looked at, the largest: each costs up to 0.1 s of a 1920x1080 picture.
_MOST_PARTS = 4
# Of less than that the codec has left nothing: its error is divided by the share. And hardly anybody draws a box that
# hides less.
_SHARES = (0.2, 0.8)
# Of the pairs. 15 boxes have 0.78 and more, one over noise 0.36 with the right share all the same; what passes for a
# box by chance has up to 0.97, so that this refuses only what is no relation at all.
_LEAST_CORRELATION = 0.3
# The colour of a box is had from far away where little is hidden: this much of an error.
_COLOUR_LEVELS = 32
# Edges that have to be seen, and those inside the picture that need not be: blocks of outlined text have two, by chance
# three. How clearly, in the mean: the logarithm of how much smaller the step across an edge gets, where all four are
# seen (16 boxes: 2.7 and more) and where they are not (5 and more; by chance 2.7).
_LEAST_SEEN_SIDES, _MOST_UNSEEN_SIDES = 2, 1
_CLEAR, _CLEARER = log(2), log(4)
_ROUNDS = 3
# What earlier frames count: 25 in all.
_DECAY = 0.96
# Where nothing was found in so many frames in a row, one in as many is looked at.
_REST_FRAMES = 4
_WHERE, _MOMENTS, _REFUSED = "where", "moments", "refused"


class Veil(NamedTuple):
    """A box of the picture, and what it makes of it.

    Nothing is to be changed but `within` another box.
    """

    edges: Edges
    blend: Blend
    within: Box


class _Followed(NamedTuple):
    """A veil with the part of the matte that it was found in, and where its edges were seen.

    `blend` is that of all `moments`.
    """

    part: Edges
    edges: Edges
    seen: frozenset[Side]
    moments: Moments
    blend: Blend


class _Refused(NamedTuple):
    """A part of the matte in which no veil was found, in so many frames in a row."""

    part: Edges
    frames: int


class Veils:
    """Of one video, whose frames are looked at in order."""

    def __init__(self, state: bytes | None = None) -> None:
        """Goes on from what `state` returned. Raises StateError."""
        stored = None if state is None else unpacked(state)
        self._followed = [] if stored is None else list(_unpacked_veils(stored))
        self._refused = [] if stored is None else list(_unpacked_refusals(stored))

    def of(self, picture: Picture, matte: UInt8, boxes: Iterable[Box]) -> list[Veil]:
        """The veils of a frame under its matte uint8 [h, w], which is of any size, inside boxes of the picture.

        No two of them meet.
        """
        followed: list[_Followed] = []
        refused: list[_Refused] = []
        veils: list[Veil] = []
        for part, box in _parts(matte, boxes, picture.size):
            look = Look(picture, part)
            one = self._looked(look)
            if one is None or any(one.edges.box.intersects(veil.edges.box) for veil in veils):
                refused.append(_Refused(part, self._refusals(look) + 1))
                continue
            followed.append(one)
            veils.append(Veil(one.edges, one.blend, box))
        self._followed, self._refused = followed, refused
        return veils

    def state(self) -> bytes:
        """What the frames so far tell the ones that come."""
        sides = [[side in one.seen for side in SIDES] for one in self._followed]
        where = [integers(*one.part, *one.edges, *seen) for one, seen in zip(self._followed, sides, strict=True)]
        moments = [one.moments.view(np.int64) for one in self._followed]
        refused = [integers(*one.part, one.frames) for one in self._refused]
        return packed([*numbered(_WHERE, where), *numbered(_MOMENTS, moments), *numbered(_REFUSED, refused)])

    def _looked(self, look: Look) -> _Followed | None:
        before = next((one for one in self._followed if look.is_of(one.part)), None)
        followed = None if before is None else _follow(look, before)
        refusals = self._refusals(look)
        if followed is None and (refusals < _REST_FRAMES or refusals % _REST_FRAMES == 0):
            followed = _found(look)
        return followed

    def _refusals(self, look: Look) -> int:
        return next((one.frames for one in self._refused if look.is_of(one.part)), 0)


def _unpacked_veils(stored: Stored) -> Iterator[_Followed]:
    where, moments = stored.numbered(_WHERE), stored.numbered(_MOMENTS)
    if len(where) != len(moments):
        raise StateError(f"expected moments of {len(where)} veils, found {len(moments)}")
    for numbers, bits in zip(where, moments, strict=True):
        if numbers.shape != (3 * len(SIDES),) or bits.dtype != np.int64 or bits.shape[1:] != (MOMENTS,):
            raise StateError(f"expected a veil's edges and moments, found {numbers.shape} and {bits.shape}")
        part, edges, seen = numbers.reshape(3, -1).tolist()
        sums = bits.view(np.float64)
        if (blend := blend_of(sums)) is None:
            raise StateError("expected moments of a veil, found those of a flat picture")
        sides = frozenset(side for side, was_seen in zip(SIDES, seen, strict=True) if was_seen)
        yield _Followed(Edges(*part), Edges(*edges), sides, sums, blend)


def _unpacked_refusals(stored: Stored) -> Iterator[_Refused]:
    for numbers in stored.numbered(_REFUSED):
        if numbers.shape != (len(SIDES) + 1,):
            raise StateError(f"expected a part of a matte and its frames, found {numbers.shape}")
        *part, frames = numbers.tolist()
        yield _Refused(Edges(*part), frames)


def _parts(matte: UInt8, boxes: Iterable[Box], picture: Size) -> Iterator[tuple[Edges, Box]]:
    """Parts of the matte that could be boxes, in pixels of the picture, each with the box that it was found in."""
    size = Size(matte.shape[1], matte.shape[0])
    met: list[Box] = []
    for box in boxes:
        inside = rescale(box, picture, size)
        hole = (matte[inside.slices] >= HOLE_ALPHA).astype(np.uint8)
        regions = cv2.connectedComponentsWithStats(hole)[2][1:].tolist()
        for x, y, width, height, area in sorted(regions, key=itemgetter(4), reverse=True)[:_MOST_PARTS]:
            part = rescale(Box(inside.x_px + x, inside.y_px + y, width, height), size, picture)
            large = part.width_px >= _LEAST_WIDTH_PX and part.height_px >= _LEAST_HEIGHT_PX
            if large and area >= _LEAST_COVERED * width * height and not any(map(part.intersects, met)):
                met.append(part)
                yield Edges.of(part), box


def _found(look: Look) -> _Followed | None:
    """The best of the veils that begin with an edge each, if it is a whole box with letters on it."""
    steps = {side: step for side in SIDES if (step := look.step(side)) is not None}
    if len(steps) < _LEAST_SEEN_SIDES:
        return None
    grown = [one for side, at_px in steps.items() if (one := _grown(look, side, at_px)) is not None]
    if not grown:
        return None
    _, best = max(grown, key=itemgetter(0))
    whole = all(look.has_ends(best.edges, side, best.blend) for side in best.seen)
    return best if whole and _holds_text(look, best.edges, best.blend) else None


def _grown(look: Look, first: Side, at_px: int) -> tuple[float, _Followed] | None:
    """From one edge the blend, from this where the others are, and so on; with a score to compare by."""
    edges, seen = look.around.moved(first, at_px), frozenset((first,))
    moments = moments_of(look.pairs(edges, seen))
    shown: dict[Side, Shown] = {}
    for _ in range(_ROUNDS):
        blend = None if moments is None else blend_of(moments)
        if blend is None or not _SHARES[0] < blend.share < _SHARES[1]:
            return None
        before = edges, seen
        edges, shown = look.settled(edges, blend)
        seen = frozenset(shown)
        if len(seen) < _LEAST_SEEN_SIDES or not edges.is_box:
            return None
        if (edges, seen) == before:
            break
        moments = moments_of(look.pairs(edges, seen))
    blend = None if moments is None else blend_of(moments)
    if moments is None or blend is None or not _is_clear(look, shown) or not _is_veil(blend, look.picture):
        return None
    return _evidence(look, shown), _Followed(look.part, edges, seen, moments, blend)


def _follow(look: Look, before: _Followed) -> _Followed | None:
    """A veil of the frame before in this one, None where most edges deny it or there is text that cannot be told."""
    edges, agreed = _moved_along(look, before)
    denied = [side for side in before.seen - agreed if look.breaks(edges, side, before.blend)]
    if sum(map(look.part.length_px, denied)) > sum(map(look.part.length_px, agreed)) or not edges.is_box:
        return None
    moments, pairs = before.moments, look.pairs(edges, agreed)
    if pairs and is_telling(new := moments_near(pairs, before.blend)):
        moments = moments * _DECAY + new
    blend = blend_of(moments)
    if blend is None or not _is_veil(blend, look.picture) or not _holds_text(look, edges, blend):
        return None
    return _Followed(look.part, edges, before.seen | agreed, moments, blend)


def _moved_along(look: Look, before: _Followed) -> tuple[Edges, frozenset[Side]]:
    """Edges where they were, or, where this frame knows better, where they are; and which of them it shows."""
    edges, agreed = before.edges, set()
    for side in SIDES:
        shown = look.shown(edges, side, before.blend)
        if side in before.seen and shown is not None and shown.goes_on:
            agreed.add(side)
        elif side in before.seen and (shown is None or not shown.breaks):
            continue
        elif (found := look.place(edges, side, before.blend)) is not None:
            edges = edges.moved(side, found[0])
            agreed.add(side)
        elif not look.is_near(edges, side):
            edges = edges.moved(side, look.surely_inside.at(side))
    return edges, frozenset(agreed)


def _is_veil(blend: Blend, picture: Picture) -> bool:
    """Whether there is a colour that a box could have, and whether the pairs are of one mind."""
    if not _SHARES[0] < blend.share < _SHARES[1] or blend.correlation < _LEAST_CORRELATION:
        return False
    colours = [added / (1 - blend.share) for added in blend.added]
    return all(
        darkest - _COLOUR_LEVELS <= colour <= brightest + _COLOUR_LEVELS
        for colour, (darkest, brightest) in zip(colours, picture.limits, strict=True)
    )


def _holds_text(look: Look, edges: Edges, blend: Blend) -> bool:
    centred = not look.borders.intersection(("top", "bottom") if look.part.is_lying else ("left", "right"))
    return hold_text(letters(look.picture, edges.box, blend), centred=centred)


def _is_clear(look: Look, shown: Mapping[Side, Shown]) -> bool:
    """Whether so many edges are seen that clearly that it is no chance."""
    unseen = [side for side in SIDES if side not in shown and side not in look.borders]
    clear = _evidence(look, shown) / sum(map(look.part.length_px, shown))
    return len(unseen) <= _MOST_UNSEEN_SIDES and clear >= (_CLEAR if len(shown) == len(SIDES) else _CLEARER)


def _evidence(look: Look, shown: Mapping[Side, Shown]) -> float:
    return sum(look.part.length_px(side) * one.evidence for side, one in shown.items())
