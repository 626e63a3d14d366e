"""RGB content back to a frame's own samples: the inverse of `scale.Scaler.rgb`, in numbers that are not yet rounded.

Source: ITU-T H.273, equations 20 to 38, but for one thing that swscale does: it takes the codes of 9 to 16 bits for
those of 8 bits times 2**(bits - 8), in full range too, so that 1020 and not 1023 comes back for 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from clear_rt.frames.scale import is_full_range, luma_weights
from clear_rt.shapes import Box, plane_box

if TYPE_CHECKING:
    from clear_rt.frames.frame import Plane

Floats = NDArray[np.float32]


def samples_of(rgb: Floats, box: Box, picture: av.VideoFrame, planes: Sequence[Plane]) -> list[Floats | None]:
    """rgb float32 [H, W, 3] of the upright `box`, 0..255 -> per plane float32 of `plane_box(box, ...)`, None for alpha.

    Values are the plane's own, 0 .. 2**bits - 1, and may lie a little outside. A sample of a subsampled plane is the
    mean of the pixels it stands for; of those that `box` leaves out, or the picture lacks, the nearest ones inside.
    Raises ValueError where `rgb` is not of the box's size.
    """
    if rgb.shape != (box.height_px, box.width_px, 3):
        raise ValueError(f"expected content of {box.width_px}x{box.height_px} RGB, got {rgb.shape}")
    is_gray = not any(plane.kind in ("chroma", "rgb") for plane in planes)
    # swscale reads gray in full range whatever its tag says.
    rows = _ycc_rows(*luma_weights(picture), full=is_gray or is_full_range(picture))
    pooled = {
        steps: _means(rgb, box, *steps)
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
            weights, offset = rows[colours]
            values = pixels @ weights + offset
        contents.append(values * np.float32(2.0 ** (plane.bits - 8)))
        colours += 1
    return contents


def _ycc_rows(red: float, blue: float, *, full: bool) -> list[tuple[Floats, np.float32]]:
    """Weights of R, G, B in 0..255 and the offset of Y, Cb and Cr, each in codes of 8 bits."""
    luma_scale, chroma_scale, black = (1.0, 1.0, 0) if full else (219 / 255, 224 / 255, 16)
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) * (chroma_scale / (2 * (1 - blue)))
    cr = (np.array([1, 0, 0]) - luma) * (chroma_scale / (2 * (1 - red)))
    rows = ((luma * luma_scale, black), (cb, 128), (cr, 128))
    return [(weights.astype(np.float32), np.float32(offset)) for weights, offset in rows]


def _means(rgb: Floats, box: Box, step_x_px: int, step_y_px: int) -> Floats:
    """Mean colour [h, w, 3] of every cell of `step_x_px` x `step_y_px` pixels that the box touches."""
    if (step_x_px, step_y_px) == (1, 1):
        return rgb
    inner = plane_box(box, step_x_px, step_y_px)
    top, left = box.y_px - inner.y_px * step_y_px, box.x_px - inner.x_px * step_x_px
    bottom, right = inner.bottom_px * step_y_px - box.bottom_px, inner.right_px * step_x_px - box.right_px
    if top or left or bottom or right:
        rgb = np.pad(rgb, ((top, bottom), (left, right), (0, 0)), mode="edge")
    cells = rgb.reshape(inner.height_px, step_y_px, inner.width_px, step_x_px, 3)
    means: Floats = cells.mean(axis=(1, 3), dtype=np.float32)
    return means
