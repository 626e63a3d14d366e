"""One occlusion map to a few boxes around what looks like text, all in pixels of the prior's working picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from clear_rt.shapes import Box

BLOCK_PX = 8
# Text of 3 % of the height is 11 px tall, the smallest legible about 7; a narrow letter of that size covers 20 px.
LEAST_PIXELS = 20
# Two such letters at maps' usual width; windows and trusses of the held-out clips reached 53 (docs/LOG.md).
LEAST_STRONG_PIXELS = 60
LEAST_LENGTH_PX = 7
LEAST_BLOCK_PIXELS = 2
# Of the weak evidence of text in 16 looks 0.62 to 0.98 was strong, of windows and trusses 0.1 to 0.35.
CERTAIN_SHARE = 0.5
# Blocks on either side: letters up to four blocks apart are one line, lines up to two blocks apart one block of text.
JOIN_X_BLOCKS = 2
JOIN_Y_BLOCKS = 1


@dataclass(frozen=True, slots=True)
class Blob:
    """Where one scan saw text: with confidence, or only enough of it to keep alive what was seen before.

    A confident blob is certain where most of its pixels are: then no second scan is needed to believe it.
    """

    box: Box
    confident: bool
    certain: bool = False


def block_counts(mask: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Set pixels of a mask bool [h, w] in every block, uint16; the last row and column of blocks may be smaller."""
    height, width = mask.shape
    rows = np.add.reduceat(mask.view(np.uint8), np.arange(0, height, BLOCK_PX), axis=0, dtype=np.uint8)
    return np.add.reduceat(rows, np.arange(0, width, BLOCK_PX), axis=1, dtype=np.uint16)


def find_blobs(occlusion: NDArray[np.uint8], enter_level: int, stay_level: int, *, is_true: bool = False) -> list[Blob]:
    """Boxes of connected evidence in a map uint8 [h, w], specks left out.

    Pixels of at least `stay_level` are joined; a blob is confident where enough of them reach `enter_level`. With
    `is_true` the map is no guess: nothing is a speck, and all blobs are certain.
    """
    if occlusion.size == 0 or occlusion.max() < stay_level:
        return []
    weak, strong = occlusion >= stay_level, occlusion >= enter_level
    weak_counts, strong_counts = block_counts(weak), block_counts(strong)
    evidence = weak_counts >= (1 if is_true else LEAST_BLOCK_PIXELS)
    blobs = []
    for rows, columns in _components(_joined(evidence)):
        seen = evidence[rows, columns]
        rows, columns = rows[seen], columns[seen]
        box = _tight_box(weak, rows, columns)
        weak_px, strong_px = int(weak_counts[rows, columns].sum()), int(strong_counts[rows, columns].sum())
        if is_true:
            blobs.append(Blob(box, confident=True, certain=True))
        elif weak_px >= LEAST_PIXELS and max(box.width_px, box.height_px) >= LEAST_LENGTH_PX:
            confident = strong_px >= LEAST_STRONG_PIXELS
            blobs.append(Blob(box, confident, confident and strong_px >= CERTAIN_SHARE * weak_px))
    return blobs


def _joined(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = mask.shape
    padded = np.pad(mask, ((JOIN_Y_BLOCKS, JOIN_Y_BLOCKS), (JOIN_X_BLOCKS, JOIN_X_BLOCKS)))
    across = reduce(np.logical_or, [padded[:, i : i + width] for i in range(2 * JOIN_X_BLOCKS + 1)])
    return reduce(np.logical_or, [across[i : i + height] for i in range(2 * JOIN_Y_BLOCKS + 1)])


def _components(mask: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows and columns of every 4-connected component, in reading order of their first cells."""
    row = mask.shape[1] + 1
    cells = np.flatnonzero(np.pad(mask, ((0, 0), (0, 1)))).tolist()
    pending = set(cells)
    components = []
    for first in cells:
        if first not in pending:
            continue
        pending.remove(first)
        found = [first]
        for cell in found:
            for neighbour in (cell - row, cell - 1, cell + 1, cell + row):
                if neighbour in pending:
                    pending.remove(neighbour)
                    found.append(neighbour)
        rows, columns = np.divmod(np.array(found), row)
        components.append((rows, columns))
    return components


def _tight_box(weak: NDArray[np.bool_], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Box:
    top, left = int(rows.min()) * BLOCK_PX, int(columns.min()) * BLOCK_PX
    part = weak[top : (int(rows.max()) + 1) * BLOCK_PX, left : (int(columns.max()) + 1) * BLOCK_PX]
    y, x = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    return Box(left + int(x[0]), top + int(y[0]), int(x[-1] - x[0]) + 1, int(y[-1] - y[0]) + 1)
