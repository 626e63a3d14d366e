"""Semi-transparent boxes behind text, *veils*: where they are and what they make of the picture, from frame to frame.

What is behind a veil is not lost: source = share x picture + colour, and both can be had from what the picture shows
beside its edges and what the veil makes of it there (`veil_blend`). A veil is taken for one where the picture, taken
out from under it, goes on across its edges as the picture beside them does. What was measured in one frame counts in
the next ones, as long as these do not say otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from clear_rt.composite import HOLE_ALPHA
from clear_rt.shapes import Box, Size, rescale
from clear_rt.states import StateError, integers, numbered, packed, unpacked
from clear_rt.veil_blend import MOMENTS, Blend, Moments, blend_of, moments_of
from clear_rt.veil_letters import hold_text, letters
from clear_rt.veil_look import Look, Picture
from clear_rt.veil_rim import SIDES, Edges, Side

UInt8 = npt.NDArray[np.uint8]

# Smaller parts of a matte are letters, not boxes; and of its rectangle a box covers so much.
_LEAST_WIDTH_PX, _LEAST_HEIGHT_PX, _LEAST_COVERED = 32, 14, 0.7
# Of less than that the codec has left nothing: its error is divided by the share. And hardly anybody draws a box that
# hides less.
_SHARES = (0.2, 0.8)
# 16 boxes over 16 clips have 0.92 to 0.999, 0.97 in most frames.
_LEAST_CORRELATION = 0.3
# The colour of a box is had from far away where little is hidden: this much of an error.
_COLOUR_LEVELS = 32
# Edges that have to be seen, and those inside the picture that need not be: blocks of outlined text have two at most.
_LEAST_SEEN_SIDES, _MOST_UNSEEN_SIDES = 2, 1
_ROUNDS = 3
# What earlier frames count: 25 in all.
_DECAY = 0.96


class Veil(NamedTuple):
    """A box of the picture, and what it makes of it.

    `open` are the sides that are the picture's own; nothing is to be changed but `within` a box.
    """

    edges: Edges
    blend: Blend
    open: frozenset[Side]
    within: Box


class _Followed(NamedTuple):
    """A veil with the part of the matte that it was found in, where its edges were seen, and what it was made of."""

    part: Edges
    edges: Edges
    seen: frozenset[Side]
    moments: Moments


class Veils:
    """Of one video, whose frames are looked at in order."""

    def __init__(self, state: bytes | None = None) -> None:
        """Goes on from what `state` returned. Raises StateError."""
        self._followed = [] if state is None else list(_unpacked(state))

    def of(self, picture: Picture, matte: UInt8, boxes: Iterable[Box]) -> list[Veil]:
        """The veils of a frame under its matte uint8 [h, w], which is of any size, inside boxes of the picture."""
        found: list[_Followed] = []
        veils = []
        for part, box in _parts(matte, boxes, picture.size):
            look = Look(picture, part)
            before = next((one for one in self._followed if look.is_of(one.part)), None)
            followed = None if before is None else _follow(look, before)
            followed = followed or _found(look)
            blend = None if followed is None else blend_of(followed.moments)
            if followed is None or blend is None:
                continue
            found.append(followed)
            veils.append(Veil(followed.edges, blend, look.borders - followed.seen, box))
        self._followed = found
        return veils

    def state(self) -> bytes:
        """What the frames so far tell the ones that come."""
        sides = [[side in one.seen for side in SIDES] for one in self._followed]
        where = [integers(*one.part, *one.edges, *seen) for one, seen in zip(self._followed, sides, strict=True)]
        moments = [one.moments.view(np.int64) for one in self._followed]
        return packed([*numbered("where", where), *numbered("moments", moments)])


def _unpacked(state: bytes) -> Iterator[_Followed]:
    stored = unpacked(state)
    where, moments = stored.numbered("where"), stored.numbered("moments")
    if len(where) != len(moments):
        raise StateError(f"expected moments of {len(where)} veils, found {len(moments)}")
    for numbers, bits in zip(where, moments, strict=True):
        if numbers.shape != (3 * len(SIDES),) or bits.dtype != np.int64 or bits.shape[1:] != (MOMENTS,):
            raise StateError(f"expected a veil's edges and moments, found {numbers.shape} and {bits.shape}")
        part, edges, seen = numbers.reshape(3, -1).tolist()
        sides = frozenset(side for side, was_seen in zip(SIDES, seen, strict=True) if was_seen)
        yield _Followed(Edges(*part), Edges(*edges), sides, bits.view(np.float64))


def _parts(matte: UInt8, boxes: Iterable[Box], picture: Size) -> Iterator[tuple[Edges, Box]]:
    """Parts of the matte that could be boxes, in pixels of the picture, each with the box that it was found in."""
    size = Size(matte.shape[1], matte.shape[0])
    met: list[Box] = []
    for box in boxes:
        inside = rescale(box, picture, size)
        hole = (matte[inside.slices] >= HOLE_ALPHA).astype(np.uint8)
        for x, y, width, height, area in cv2.connectedComponentsWithStats(hole)[2][1:].tolist():
            part = rescale(Box(inside.x_px + x, inside.y_px + y, width, height), size, picture)
            large = part.width_px >= _LEAST_WIDTH_PX and part.height_px >= _LEAST_HEIGHT_PX
            if large and area >= _LEAST_COVERED * width * height and not any(map(part.intersects, met)):
                met.append(part)
                yield Edges.of(part), box


def _found(look: Look) -> _Followed | None:
    """The best of the veils that begin with an edge each; none that shows no letters."""
    steps = {side: step for side in SIDES if (step := look.step(side)) is not None}
    grown = [one for side, at_px in steps.items() if (one := _grown(look, side, at_px)) is not None]
    for _, followed in sorted(grown, key=lambda one: one[0], reverse=True):
        blend = blend_of(followed.moments)
        if blend is not None and hold_text(letters(look.picture, followed.edges.box, blend)):
            return followed
    return None


def _grown(look: Look, first: Side, at_px: int) -> tuple[float, _Followed] | None:
    """From one edge the blend, from this where the others are, and so on; with a score to compare by."""
    edges, seen = look.around.moved(first, at_px), frozenset((first,))
    score = 0.0
    for _ in range(_ROUNDS):
        blend = _blend(look, edges, seen)
        if blend is None or not _SHARES[0] < blend.share < _SHARES[1]:
            return None
        edges, scores = look.settled(edges, blend)
        seen, score = frozenset(scores), sum(scores.values())
        if len(seen) < _LEAST_SEEN_SIDES:
            return None
    moments = moments_of(look.pairs(edges, seen)) if _is_enough(look, seen) else None
    blend = None if moments is None else blend_of(moments)
    if moments is None or blend is None or not _is_veil(blend, look.picture):
        return None
    return score, _Followed(look.part, edges, seen, moments)


def _follow(look: Look, before: _Followed) -> _Followed | None:
    """A veil of the frame before in this one, None where most of its edges deny it."""
    blend = blend_of(before.moments)
    if blend is None:
        return None
    edges, seen = before.edges, before.seen
    shown = {side: look.shown(edges, side, blend) for side in seen}
    agreed = frozenset(side for side, one in shown.items() if one is not None and one.goes_on)
    denied = [side for side, one in shown.items() if one is not None and one.breaks]
    if sum(map(look.part.length_px, denied)) > sum(map(look.part.length_px, agreed)):
        return None
    for side in SIDES:
        if side not in seen and (place := look.place(edges, side, blend)) is not None:
            edges, agreed, seen = edges.moved(side, place), agreed | {side}, seen | {side}
    moments = before.moments * _DECAY
    if agreed and (new := moments_of(look.pairs(edges, agreed), blend)) is not None:
        moments = moments + new
    now = blend_of(moments)
    return _Followed(look.part, edges, seen, moments) if now is not None and _is_veil(now, look.picture) else None


def _blend(look: Look, edges: Edges, seen: Iterable[Side]) -> Blend | None:
    pairs = look.pairs(edges, seen)
    moments = moments_of(pairs) if pairs else None
    return None if moments is None else blend_of(moments)


def _is_veil(blend: Blend, picture: Picture) -> bool:
    """Whether there is a colour that a box could have, and whether the pairs are of one mind."""
    hidden = 1 - blend.share
    colours = [
        darkest - _COLOUR_LEVELS <= added / hidden <= brightest + _COLOUR_LEVELS
        for added, (darkest, brightest) in zip(blend.added, picture.limits, strict=True)
    ]
    return _SHARES[0] < blend.share < _SHARES[1] and blend.correlation >= _LEAST_CORRELATION and all(colours)


def _is_enough(look: Look, seen: Collection[Side]) -> bool:
    unseen = [side for side in SIDES if side not in seen and side not in look.borders]
    return len(seen) >= _LEAST_SEEN_SIDES and len(unseen) <= _MOST_UNSEEN_SIDES
