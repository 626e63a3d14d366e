"""Matrices between a picture's luma and chroma codes and RGB in -1..1, as the kernels' data: rows of 3 weights, offset.

Source: ITU-T H.273, equations 20 to 38, as `clear_rt.frames` has them: codes of more than 8 bits are those of 8 bits
times 2**(bits - 8), in full range too, where white is 1020 of 1023 in 10 bits (`frames.samples`).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Weights of red and blue in luma (H.273, table 4), by FFmpeg's names.
LUMA_WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt601": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}


def output_matrix(bits: int, full_range: bool, matrix_name: str) -> Tensor:
    """fp64 [3, 4]: codes of Y, Cb, Cr are this times [R, G, B, 1], R G B in -1..1.

    Raises ValueError for another matrix than those of `LUMA_WEIGHTS`.
    """
    if matrix_name not in LUMA_WEIGHTS:
        raise ValueError(f"expected a matrix of {', '.join(LUMA_WEIGHTS)}, got {matrix_name}")
    red, blue = LUMA_WEIGHTS[matrix_name]
    luma_span, chroma_span, black = (255, 255, 0) if full_range else (219, 224, 16)
    luma = torch.tensor([red, 1 - red - blue, blue], dtype=torch.float64)
    cb = (torch.tensor([0.0, 0, 1]) - luma) * (chroma_span / (2 * (1 - blue)))
    cr = (torch.tensor([1.0, 0, 0]) - luma) * (chroma_span / (2 * (1 - red)))
    weights = torch.stack((luma * luma_span, cb, cr)) / 2
    offsets = torch.tensor([black + luma_span / 2, 128, 128], dtype=torch.float64)
    return torch.cat((weights, offsets[:, None]), 1) * 2 ** (bits - 8)


def input_matrix(bits: int, full_range: bool, matrix_name: str) -> Tensor:
    """fp64 [3, 4], the inverse: R, G, B in -1..1 are this times [Y, Cb, Cr, 1]. Raises as `output_matrix`."""
    there = output_matrix(bits, full_range, matrix_name)
    back = torch.linalg.inv(there[:, :3])
    return torch.cat((back, -back @ there[:, 3:]), 1)
