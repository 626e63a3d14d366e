"""A crop whose text is filled from around it: some generators are shown that instead of the crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clear_rt.composite import HOLE_ALPHA
from clear_rt.membrane import fill

UInt8 = NDArray[np.uint8]


def draft(crop: UInt8, alpha: UInt8) -> UInt8:
    """The membrane fill of a crop uint8 [H, W, 3] under alpha uint8 [H, W]: as `composite.paste`, but in RGB.

    A copy, or `crop` itself where alpha is 0 everywhere. Mid-grey where alpha covers everything.
    """
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if not rows.size:
        return crop
    part = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    source, share = crop[part].transpose(2, 0, 1).astype(np.float32), alpha[part] * np.float32(1 / 255)
    filled = fill(source, alpha[part] >= HOLE_ALPHA)
    result = crop.copy()
    result[part] = np.rint(source + (filled - source) * share).transpose(1, 2, 0)
    return result
