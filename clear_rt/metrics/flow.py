"""Optical flow around the text: DIS of OpenCV (Kroeger et al. 2016), medium preset, no weights."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

# OpenCV 5.0's search crashes on pictures of 12 to 15 pixels.
LEAST_SIDE_PX = 16
# The flow is searched for around the mask only: at 1920x1080 the whole picture takes a second, and text lies in a tenth
# of it. What moves further between two frames than this counts as occluded.
AROUND_PX = 64


def flow(before: UInt8, after: UInt8) -> Float:
    """Where every pixel of `before` lies in `after`: float32 [H, W, 2], steps (x, y) in pixels.

    Both are luma uint8 [H, W] without gaps between rows, `LEAST_SIDE_PX` or more each way.
    """
    found: Float = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before, after, None)
    return found


def luma(rgb: UInt8) -> UInt8:
    """uint8 [H, W] of uint8 [H, W, 3], weights of BT.601: what the flow looks at."""
    gray: UInt8 = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return gray


def around(mask: Bool) -> tuple[slice, slice]:
    """Rows and columns of the box around what is True, `AROUND_PX` wider on every side where the picture allows.

    A picture of at least `LEAST_SIDE_PX` gives a part of at least `LEAST_SIDE_PX`. Something has to be True.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = (max(int(lines[0]) - AROUND_PX, 0) for lines in (rows, columns))
    return slice(top, int(rows[-1]) + 1 + AROUND_PX), slice(left, int(columns[-1]) + 1 + AROUND_PX)


def moved(values: Float, x_px: Float, y_px: Float) -> Float:
    """`values` [H, W] or [H, W, 2] at the given places, bilinear, edges repeated."""
    sampled: Float = cv2.remap(values, x_px, y_px, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sampled
