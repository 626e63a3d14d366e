"""What of a frame was filled: the alpha of its text, in tight boxes of the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt.matte_planes import luma_alpha
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
    rows, columns = (np.flatnonzero(hole.alpha.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    x, y = hole.box.x_px + int(columns[0]), hole.box.y_px + int(rows[0])
    width, height = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
    spread = grow(Box(x, y, width, height), _ALIGNED_PX, _ALIGNED_PX, picture)
    return _placed([hole], snap(spread, _ALIGNED_PX, picture))


def _placed(parts: Sequence[Hole], box: Box) -> Hole:
    """The largest alpha of all parts, cut to a box."""
    alpha = np.zeros((box.height_px, box.width_px), np.uint8)
    for part in parts:
        x, y = max(part.box.x_px, box.x_px), max(part.box.y_px, box.y_px)
        right, bottom = min(part.box.right_px, box.right_px), min(part.box.bottom_px, box.bottom_px)
        inside = alpha[y - box.y_px : bottom - box.y_px, x - box.x_px : right - box.x_px]
        theirs = np.s_[y - part.box.y_px : bottom - part.box.y_px, x - part.box.x_px : right - part.box.x_px]
        np.maximum(inside, part.alpha[theirs], out=inside)
    return Hole(box, alpha, tuple(each for part in parts for each in part.within))
