"""How a picture moves behind text: optical flow of what lies around it, continued under it.

DIS flow (Kroeger et al. 2016) of OpenCV, without weights. Text and its fill stand still whatever the scene does, so
vectors in and close to them are replaced by the mean of those around.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# OpenCV 5.0's fast search crashes on pictures with less: it takes its coarsest scale from the width alone. None from
# 32 x 32 to 64 x 4000 did, either way round.
LEAST_SIDE_PX = 32
# The search matches patches of 8 pixels: those that reach into text follow it.
_BESIDE_PX = 6
# Vectors in so wide a square around one that is missing are averaged. Inside the mask, six clips: 30 px 26.0 dB and
# flicker 4.0, 61 px 26.9 dB and 2.5, as harmonic interpolation at three times its cost.
_AROUND_PX = 61
_LEAST_SHARE = 0.02


def flow_around(here: UInt8, there: UInt8, hole: Bools) -> Floats:
    """Where every pixel of luma uint8 [H, W] `here` lies in `there`: float32 [H, W, 2], steps (x, y) in pixels.

    `hole` bool [H, W] is what tells nothing in either of them. Zeros where nothing else does. Sides are `LEAST_SIDE_PX`
    or more.
    """
    found: Floats = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(here, there, None)
    side = 2 * _BESIDE_PX + 1
    untold = cv2.dilate(hole.view(np.uint8), np.ones((side, side), np.uint8))
    told = 1 - untold
    share = cv2.blur(told.astype(np.float32), (_AROUND_PX, _AROUND_PX))
    around = cv2.blur(cv2.copyTo(found, told), (_AROUND_PX, _AROUND_PX))
    around /= np.maximum(share, _LEAST_SHARE)[..., None]
    if (far := share < _LEAST_SHARE).any():
        around[far] = found[told > 0].mean(axis=0) if told.any() else 0
    filled: Floats = cv2.copyTo(around, untold, found)
    return filled


def places(flow: Floats) -> tuple[Floats, Floats]:
    """Columns and rows, float32 [H, W] each, that a flow [H, W, 2] points at."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]
