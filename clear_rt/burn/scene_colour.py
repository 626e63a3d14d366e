"""A colour for letters that the picture itself has close by: text that is hard to tell from what it lies on."""

from __future__ import annotations

import numpy as np

from clear_rt.burn.overlay import Overlay, UInt8
from clear_rt.burn.styles import Colour

_BRIGHTER_SHARE = 0.9
# Less than this from the usual level around it and nobody could read the text, so nobody burns it in.
_LEAST_LEVELS = 28.0
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def scene_colour(picture: UInt8, overlay: Overlay) -> Colour:
    """Of `picture` uint8 [H, W, 3] within and around `overlay`: a colour of its brighter tenth, moved up or down in
    brightness where that is too close to the median.
    """
    height, width = picture.shape[:2]
    rows, columns = overlay.rgba.shape[:2]
    top, left = max(overlay.y_px - rows // 2, 0), max(overlay.x_px, 0)
    around = picture[top : min(overlay.y_px + rows + rows // 2, height), left : min(overlay.x_px + columns, width)]
    pixels = (around if around.size else picture).reshape(-1, 3).astype(np.float32)
    luma = pixels @ _LUMA
    order = np.argsort(luma, kind="stable")
    chosen = pixels[order[int(_BRIGHTER_SHARE * (len(order) - 1))]]
    median, found = float(np.median(luma)), float(chosen @ _LUMA)
    missing = _LEAST_LEVELS - abs(found - median)
    if missing > 0:
        chosen = chosen + (missing if found + missing <= 255 else -missing - 2 * abs(found - median))
    red, green, blue = (int(value) for value in np.clip(np.rint(chosen), 0, 255))
    return red, green, blue
