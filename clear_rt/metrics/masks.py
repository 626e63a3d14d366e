"""Which pixels the subtitle covered: read from the mask video of `clear-rt burn`, or guessed from the difference."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]

DIFFERENCE_LEVELS = 24


def mask_from_difference(source: UInt8, clean: UInt8) -> Bool:
    """Where uint8 [H, W, 3] `source` differs from `clean` by more than 24 levels in a channel, after a 3x3 box average.

    Approximate as soon as the source was compressed: coding noise adds pixels, faint edges of the text are lost.
    """
    difference = source.astype(np.float32) - clean
    smoothed = np.abs(cv2.blur(difference, (3, 3)))
    mask: Bool = smoothed.max(axis=2) > DIFFERENCE_LEVELS
    return mask
