"""What of a frame was filled: the alpha of its text, in tight boxes of the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt.matte_planes import luma_alpha, occupied
from clear_rt.shapes import Box, Size, grow, snap

UInt8 = npt.NDArray[np.uint8]
# Boxes begin and end with whole samples of every plane: chroma of 4:1:0 stands for four pixels each way.
_ALIGNED_PX = 4


class Hole(NamedTuple):
    """Pixels of `box` that were filled, by uint8 alpha [box height, box width].

    Nothing outside of `within` was, of any plane: what chroma's alpha is spread over ends there, too.
    """

    box: Box
    alpha: UInt8
    within: tuple[Box, ...]


def holes(matte: UInt8, picture: Size, boxes: Iterable[Box]) -> list[Hole]:
    """Where `composite.paste` fills a picture in these boxes under this matte; no two of them meet."""
    parts = [part for box in boxes if (part := _tight(Hole(box, luma_alpha(matte, picture, box), (box,)), picture))]
    while met := next((pair for pair in combinations(parts, 2) if pair[0].box.intersects(pair[1].box)), None):
        apart = [part for part in parts if part is not met[0] and part is not met[1]]
        parts = [*apart, _placed(met, met[0].box.union(met[1].box))]
    return parts


def _tight(hole: Hole, picture: Size) -> Hole | None:
    """The part of it with any alpha, what chroma spreads over, and as much more as is aligned."""
    box = occupied(hole.alpha)
    if box is None:
        return None
    text = replace(box, x_px=hole.box.x_px + box.x_px, y_px=hole.box.y_px + box.y_px)
    spread = grow(text, _ALIGNED_PX, _ALIGNED_PX, picture)
    return _placed([hole], snap(spread, _ALIGNED_PX, picture))


def _placed(parts: Sequence[Hole], box: Box) -> Hole:
    """The largest alpha of all parts, cut to a box."""
    alpha = np.zeros((box.height_px, box.width_px), np.uint8)
    for part in parts:
        if (both := part.box.common(box)) is not None:
            here, there = both.within(box).slices, both.within(part.box).slices
            np.maximum(alpha[here], part.alpha[there], out=alpha[here])
    return Hole(box, alpha, tuple(each for part in parts for each in part.within))
