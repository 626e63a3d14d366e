"""What a piece of text looks like, in at most 20 KB: the contrast of its strokes, to be found again in other pictures.

What lies behind a see-through overlay moves, its strokes do not: the mean over scans keeps the strokes alone.
"""

from __future__ import annotations

from functools import reduce
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from clear_rt.regions_blobs import BLOCK_PX
from clear_rt.shapes import Box

Detail = NDArray[np.float32]
# Strokes of letters are 1 to 5 px wide at working size, their outlines included.
_REACH_PX = 4
# Levels of 255. A white logo of which a third is seen stands out by 30, noise of coarse coding by less than 8.
_LEAST_CONTRAST = 12.0
_MOST_PLACES = 2048
_LEAST_PLACES = 20
# Scans that the mean is made of, 3.2 s: the scene behind has moved on by then.
_MEAN_SCANS = 16
# Scans in a row in which a place is dark instead of bright: a second of another line, or of none.
_LOST_SCANS = 5
# Of the strokes of the first scan; what leaves fewer was never one thing.
_LEAST_SHARE_LEFT = 0.6
# Of the strokes in a block of 8x8 px: of a line that others followed, single places look the same by chance.
_LEAST_BLOCK_SHARE = 0.5


def detail_of(rgb: NDArray[np.uint8]) -> Detail:
    """Luma of a picture uint8 [h, w, 3] less its mean over 9x9 px: float32 [h, w], -255..255, 0 where it is even."""
    green = rgb[..., 1]
    luma = (rgb[..., 0].astype(np.uint16) + green + green + rgb[..., 2]) >> 2
    height, width = luma.shape
    side = 2 * _REACH_PX + 1
    padded = np.pad(luma, _REACH_PX, mode="edge")
    tall = reduce(np.add, [padded[i : i + height] for i in range(side)])
    # 81 times 255 is less than 2**16.
    around = reduce(np.add, [tall[:, i : i + width] for i in range(side)])
    return luma.astype(np.float32) - around.astype(np.float32) / np.float32(side * side)


class Strokes:
    """Places of strokes in the working picture, and how much brighter than around them each of them is.

    Places that others took over are lost, `_LOST_SCANS` after that: of a logo with a line of text beside it the logo
    is left.
    """

    def __init__(self, places: NDArray[np.int32], contrast: Detail, width_px: int) -> None:
        self._places, self._contrast, self._width_px = places, contrast, width_px
        self._against = np.zeros(len(places), np.uint8)
        self._left = np.ones(len(places), np.bool_)
        self._scans = 1

    @classmethod
    def seen(cls, detail: Detail, evidence: NDArray[np.bool_], box: Box) -> Strokes | None:
        """The strokes in `box` that lie on evidence bool [h, w] or beside it; None where too little stands out."""
        inside = _widened(evidence[box.slices]) & (np.abs(detail[box.slices]) >= _LEAST_CONTRAST)
        rows, columns = np.nonzero(inside)
        if len(rows) < _LEAST_PLACES:
            return None
        if len(rows) > _MOST_PLACES:
            chosen = np.linspace(0, len(rows) - 1, _MOST_PLACES).astype(np.intp)
            rows, columns = rows[chosen], columns[chosen]
        width = detail.shape[1]
        places = ((rows + box.y_px) * width + columns + box.x_px).astype(np.int32)
        return cls(places, detail.reshape(-1)[places], width)

    @property
    def box(self) -> Box:
        """The smallest that holds all blocks in which most strokes are left; of `is_one_thing` only."""
        rows, columns = np.divmod(self._places, self._width_px)
        blocks = rows // BLOCK_PX * self._width_px + columns // BLOCK_PX
        _, number = np.unique(blocks, return_inverse=True)
        share = np.bincount(number, self._left) / np.bincount(number)
        kept = self._left & (share[number] >= _LEAST_BLOCK_SHARE)
        rows, columns = rows[kept], columns[kept]
        top, left = int(rows.min()), int(columns.min())
        return Box(left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)

    @property
    def is_one_thing(self) -> bool:
        """False once most of it turned out to be something that came and went, or moved."""
        return int(self._left.sum()) >= _LEAST_SHARE_LEFT * len(self._left)

    def likeness(self, detail: Detail) -> float:
        """How much a picture's detail looks the same at the strokes: -1..1, 1 also where all of it is fainter."""
        now, before = detail.reshape(-1)[self._places[self._left]], self._contrast[self._left]
        power = float(now @ now) * float(before @ before)
        return float(now @ before) / sqrt(power) if power > 0 else 0.0

    def take(self, detail: Detail) -> None:
        """Takes another picture of the same into the mean."""
        now = detail.reshape(-1)[self._places]
        self._against = np.where(now * self._contrast < 0, np.minimum(self._against + 1, _LOST_SCANS), 0)
        self._left &= self._against < _LOST_SCANS
        self._scans = min(self._scans + 1, _MEAN_SCANS)
        self._contrast += (now - self._contrast) / np.float32(self._scans)


def _widened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """By a pixel along the axes: outlines belong to strokes, and evidence often ends within them."""
    padded = np.pad(mask, 1)
    return padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
