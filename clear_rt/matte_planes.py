"""A matte, of whatever size, to the alpha of a plane's samples: scaled up bilinearly, subsampled by maximum."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_rt.shapes import Box, Size, plane_box

Bytes = NDArray[np.uint8]


def occupied(mask: NDArray[Any]) -> Box | None:
    """The smallest box around all that is not zero of an array [H, W], None where everything is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    x, y = int(columns[0]), int(rows[0])
    return Box(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def luma_alpha(matte: Bytes, picture: Size, box: Box) -> Bytes:
    """Alpha uint8 [box height, box width] of the pixels in `box`, from a matte uint8 [h, w] of the whole picture.

    Where the picture is the larger one the matte is interpolated bilinearly between its pixels' centres; where it is
    smaller each pixel takes the largest matte pixel that it covers, so that no text is lost.
    """
    if matte.shape == (picture.height_px, picture.width_px):
        return matte[box.slices].copy()
    rows, columns = np.flatnonzero(matte.any(axis=1)), np.flatnonzero(matte.any(axis=0))
    alpha = np.zeros((box.height_px, box.width_px), np.uint8)
    if not rows.size:
        return alpha
    y = _Axis(rows, matte.shape[0], picture.height_px, box.y_px, box.bottom_px)
    x = _Axis(columns, matte.shape[1], picture.width_px, box.x_px, box.right_px)
    if y.start < y.stop and x.start < x.stop:
        wide = x.resampled(matte[y.first : y.last, x.first : x.last].T)
        inside = np.s_[y.start - box.y_px : y.stop - box.y_px, x.start - box.x_px : x.stop - box.x_px]
        alpha[inside] = np.rint(y.resampled(wide.T))
    return alpha


def alpha_for(luma: Bytes, box: Box, step_x_px: int, step_y_px: int, *, spread: bool) -> Bytes:
    """Alpha uint8 of the samples in `plane_box(box, ...)`: the largest alpha of the pixels each one stands for.

    `spread` grows it by one sample in every direction: filters that subsample chroma reach beyond the pixels of a
    sample.
    """
    inner = plane_box(box, step_x_px, step_y_px)
    if (step_x_px, step_y_px) == (1, 1):
        pooled = luma
    else:
        aligned = np.zeros((inner.height_px * step_y_px, inner.width_px * step_x_px), np.uint8)
        top, left = box.y_px - inner.y_px * step_y_px, box.x_px - inner.x_px * step_x_px
        aligned[top : top + box.height_px, left : left + box.width_px] = luma
        tall = reduce(np.maximum, [aligned[i::step_y_px] for i in range(step_y_px)])
        pooled = reduce(np.maximum, [tall[:, i::step_x_px] for i in range(step_x_px)])
    if not spread:
        return pooled
    padded = np.pad(pooled, 1)
    tall = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    return np.maximum(np.maximum(tall[:, :-2], tall[:, 1:-1]), tall[:, 2:])


class _Axis:
    """One direction: all that is not zero lies in `first`..`last`; targets `start`..`stop` may depend on it."""

    def __init__(self, occupied: NDArray[np.intp], source: int, target: int, start: int, stop: int) -> None:
        self.source, self.target = source, target
        self.first, self.last = max(int(occupied[0]) - 1, 0), min(int(occupied[-1]) + 2, source)
        self.start = max(start, self.first * target // source)
        self.stop = min(stop, -(-self.last * target // source))

    def resampled(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values [last - first, n] at the targets, [stop - start, n]."""
        targets = np.arange(self.start, self.stop)
        if self.target < self.source:
            return self._largest(values, targets)
        centre = np.clip((targets + 0.5) * self.source / self.target - 0.5, self.first, self.last - 1) - self.first
        low = centre.astype(np.intp)
        high = np.minimum(low + 1, self.last - self.first - 1)
        mixed = values[low].astype(np.float32)
        mixed += (centre - low).astype(np.float32)[:, None] * (values[high] - mixed)
        return mixed

    def _largest(self, values: NDArray[Any], targets: NDArray[np.intp]) -> NDArray[Any]:
        begin = targets * self.source // self.target - self.first
        last = -(-(targets + 1) * self.source // self.target) - self.first - 1
        begin, last = np.maximum(begin, 0), np.clip(last, 0, self.last - self.first - 1)
        widest = int((last - begin).max(initial=0)) + 1
        return reduce(np.maximum, [values[np.minimum(begin + i, last)] for i in range(widest)])
