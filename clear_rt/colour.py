"""Between luma and chroma codes and RGB: rows of three weights and an offset.

Source: ITU-T H.273, equations 20 to 38, but for one thing that swscale does: it takes the codes of 9 to 16 bits for
those of 8 bits times 2**(bits - 8), in full range too, so that 1020 and not 1023 stands for white in 10 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
# R, G, B are -1..1 for the networks, 0..255 for pictures.
_HALF = 127.5


def code_matrix(red: float, blue: float, full_range: bool) -> Doubles:
    """[3, 4]: codes of 8 bits of Y, Cb, Cr are this times [R, G, B, 1], R G B in 0..255.

    `red` and `blue` are their weights in luma (H.273, table 4).
    """
    luma_scale, chroma_scale, black = (1.0, 1.0, 0) if full_range else (219 / 255, 224 / 255, 16)
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) * (chroma_scale / (2 * (1 - blue)))
    cr = (np.array([1, 0, 0]) - luma) * (chroma_scale / (2 * (1 - red)))
    rows = np.stack((luma * luma_scale, cb, cr))
    return np.concatenate((rows, [[black], [128], [128]]), axis=1)


def output_matrix(bits: int, red: float, blue: float, full_range: bool) -> Doubles:
    """[3, 4]: codes of `bits` bits are this times [R, G, B, 1], R G B in -1..1."""
    codes = code_matrix(red, blue, full_range)
    weights = codes[:, :3] * _HALF
    offsets = codes[:, 3] + weights.sum(axis=1)
    return np.concatenate((weights, offsets[:, None]), axis=1) * 2.0 ** (bits - 8)


def input_matrix(bits: int, red: float, blue: float, full_range: bool) -> Doubles:
    """[3, 4], the inverse: R, G, B in -1..1 are this times [Y, Cb, Cr, 1]."""
    there = output_matrix(bits, red, blue, full_range)
    back = np.linalg.inv(there[:, :3])
    return np.concatenate((back, -back @ there[:, 3:]), axis=1)
