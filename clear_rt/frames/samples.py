"""RGB content back to a frame's own samples: the inverse of exact `scale.Scaler.rgb`, in numbers not yet rounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from clear_rt.colour import code_matrix
from clear_rt.frames.orientation import Orientation
from clear_rt.frames.scale import is_full_range, luma_weights
from clear_rt.shapes import Box, plane_box

if TYPE_CHECKING:
    from clear_rt.frames.frame import Plane

Floats = NDArray[np.float32]


def samples_of(
    rgb: Floats, box: Box, picture: av.VideoFrame, planes: Sequence[Plane], orientation: Orientation
) -> list[Floats | None]:
    """rgb float32 [H, W, 3] of the upright `box`, 0..255 -> per plane float32 of `plane_box(box, ...)`, None for alpha.

    Values are the plane's own, 0 .. 2**bits - 1, and may lie a little outside. A sample of a subsampled plane is the
    mean of the pixels it stands for; of those that `box` leaves out, or the picture lacks, the nearest ones inside.
    Raises ValueError where `rgb` is not of the box's size.
    """
    if rgb.shape != (box.height_px, box.width_px, 3):
        raise ValueError(f"expected content of {box.width_px}x{box.height_px} RGB, got {rgb.shape}")
    is_gray = not any(plane.kind in ("chroma", "rgb") for plane in planes)
    # swscale reads gray in full range whatever its tag says.
    full_range = is_gray or is_full_range(picture)
    matrix = code_matrix(*luma_weights(picture), full_range).astype(np.float32)
    pooled = {
        steps: _means(rgb, box, steps, _before(picture, orientation, *steps))
        for steps in {(plane.step_x_px, plane.step_y_px) for plane in planes if plane.kind != "alpha"}
    }
    contents: list[Floats | None] = []
    colours = 0
    for plane in planes:
        if plane.kind == "alpha":
            contents.append(None)
            continue
        pixels = pooled[plane.step_x_px, plane.step_y_px]
        if plane.kind == "rgb":
            values: Floats = pixels[..., colours]
        else:
            values = pixels @ matrix[colours, :3] + matrix[colours, 3]
        contents.append(values * np.float32(2.0 ** (plane.bits - 8)))
        colours += 1
    return contents


def _before(picture: av.VideoFrame, orientation: Orientation, step_x_px: int, step_y_px: int) -> tuple[int, int]:
    """Columns and rows by which the first cell of the upright picture begins before it.

    A stored picture whose size is no multiple of the steps ends within a cell; flipped, it begins with that one.
    """
    width, height = picture.width, picture.height
    if orientation.transpose:
        width, height = height, width
    return -width % step_x_px if orientation.flip_x else 0, -height % step_y_px if orientation.flip_y else 0


def _means(rgb: Floats, box: Box, steps_px: tuple[int, int], before_px: tuple[int, int]) -> Floats:
    """Mean colour [h, w, 3] of the cells of `steps_px` (x, y) pixels that `plane_box` takes for `box`.

    The first cell of the picture begins `before_px` (x, y) pixels before it.
    """
    if steps_px == (1, 1):
        return rgb
    inner = plane_box(box, *steps_px)
    columns = _nearest(inner.x_px, inner.width_px, steps_px[0], box.x_px + before_px[0], box.width_px)
    rows = _nearest(inner.y_px, inner.height_px, steps_px[1], box.y_px + before_px[1], box.height_px)
    if not (np.array_equal(columns, np.arange(box.width_px)) and np.array_equal(rows, np.arange(box.height_px))):
        rgb = rgb[rows[:, None], columns]
    cells = rgb.reshape(inner.height_px, steps_px[1], inner.width_px, steps_px[0], 3)
    means: Floats = cells.mean(axis=(1, 3), dtype=np.float32)
    return means


def _nearest(first: int, cells: int, step_px: int, start_px: int, length_px: int) -> NDArray[np.intp]:
    """Indices, into a stretch of `length_px` that begins at `start_px`, of the pixels of `cells` cells from `first`."""
    pixels = np.arange(first * step_px, (first + cells) * step_px, dtype=np.intp) - start_px
    return np.clip(pixels, 0, length_px - 1)
