"""`clear_rt.colour` as the kernels' data, by FFmpeg's names of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from clear_rt import colour

# Weights of red and blue in luma (H.273, table 4).
LUMA_WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt601": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}


def output_matrix(bits: int, full_range: bool, matrix_name: str) -> Tensor:
    """fp64 [3, 4] of `clear_rt.colour.output_matrix`. Raises ValueError for a matrix not in `LUMA_WEIGHTS`."""
    return torch.from_numpy(colour.output_matrix(bits, *_weights(matrix_name), full_range))


def input_matrix(bits: int, full_range: bool, matrix_name: str) -> Tensor:
    """fp64 [3, 4] of `clear_rt.colour.input_matrix`. Raises as `output_matrix`."""
    return torch.from_numpy(colour.input_matrix(bits, *_weights(matrix_name), full_range))


def _weights(matrix_name: str) -> tuple[float, float]:
    if matrix_name not in LUMA_WEIGHTS:
        raise ValueError(f"expected a matrix of {', '.join(LUMA_WEIGHTS)}, got {matrix_name}")
    return LUMA_WEIGHTS[matrix_name]
