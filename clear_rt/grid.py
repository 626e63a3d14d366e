"""Cells of a picture: motion is followed in them, so that it costs no more in a large picture than in a small one."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from clear_rt.shapes import Box, Size

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# A picture's shorter side has at most so many cells. Cells of two pixels at 1280x720 take a third of the time of cells
# of one, and cost 0.1 dB.
MOST_SIDE_CELLS = 540


class Grid(NamedTuple):
    """`size` whole cells of `step_px` pixels each way; what is left over at the picture's edges is in none."""

    step_px: int
    size: Size

    def covering(self, box: Box) -> Box | None:
        """The cells that hold any pixel of a box, None where none do."""
        x, y = box.x_px // self.step_px, box.y_px // self.step_px
        right, bottom = -(-box.right_px // self.step_px), -(-box.bottom_px // self.step_px)
        return Box(x, y, right - x, bottom - y).clipped(self.size)

    def pixels(self, cells: Box) -> Box:
        """The pixels of some cells."""
        step = self.step_px
        return Box(cells.x_px * step, cells.y_px * step, cells.width_px * step, cells.height_px * step)

    def any(self, pixels: Bools, box: Box, cells: Box) -> Bools:
        """Of the pixels bool [box height, box width], those of any cell `covering` the box: bool [rows, columns]."""
        step, outer = self.step_px, self.pixels(cells)
        padded = np.zeros((outer.height_px, outer.width_px), np.bool_)
        inside = box.clipped(Size(outer.right_px, outer.bottom_px))
        if inside is not None:
            y, x = box.y_px - outer.y_px, box.x_px - outer.x_px
            padded[y : y + inside.height_px, x : x + inside.width_px] = pixels[: inside.height_px, : inside.width_px]
        blocks = padded.reshape(cells.height_px, step, cells.width_px, step)
        return cast(Bools, np.logical_or.reduce(blocks, axis=(1, 3)))

    def magnified(self, values: Floats, cells: Box, box: Box) -> npt.NDArray[Any]:
        """Values [rows, columns] or [rows, columns, 2] of some cells at every pixel of a box in them, bilinear.

        Pixels of the box that lie in none of these cells have what the nearest one has.
        """
        outer, found = self.pixels(cells), np.asarray(values)
        if self.step_px > 1:
            found = np.asarray(cv2.resize(values, (outer.width_px, outer.height_px), interpolation=cv2.INTER_LINEAR))
        part = found[box.y_px - outer.y_px :, box.x_px - outer.x_px :][: box.height_px, : box.width_px]
        missing = (0, box.height_px - part.shape[0]), (0, box.width_px - part.shape[1])
        return np.pad(part, [*missing, *[(0, 0)] * (part.ndim - 2)], "edge") if any(map(any, missing)) else part


def grid_of(picture: Size) -> Grid:
    """Of a picture whose shorter side has `MOST_SIDE_CELLS` or fewer."""
    step = -(-min(picture) // MOST_SIDE_CELLS)
    return Grid(step, Size(picture.width_px // step, picture.height_px // step))
