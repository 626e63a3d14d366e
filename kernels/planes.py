"""A picture on the GPU as three planes of integer samples: what kernels accept for one, and how they read it.

Luma [H, W], Cb and Cr [ceil(H / step_y), ceil(W / step_x)] with steps of 1 or 2, uint8 or 16 bits. Cb and Cr may be
views of one interleaved plane, as NV12 and P010 have it. int16 is taken for uint16 by its bits: torch does little with
uint16, and P010, which keeps its 10 bits above 6 zeros, reaches the sign. Offsets within a plane fit 32 bits: regions
end at 16,384 pixels a side, planes with them at 2**28 samples.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.contract import Contract

SAMPLES = (torch.uint8, torch.uint16, torch.int16)


class Steps(NamedTuple):
    """Pixels per chroma sample, across and down."""

    x_px: int
    y_px: int


def check_planes(contract: Contract, luma: Tensor, cb: Tensor, cr: Tensor) -> Steps:
    """Chroma's steps, by its size. Raises ValueError where the planes are not those of one picture."""
    contract.tensor("luma", luma, "H W", SAMPLES)
    contract.tensor("cb", cb, "h w", (luma.dtype,), dense_axes=0)
    contract.tensor("cr", cr, "h w", (luma.dtype,), dense_axes=0)
    if cb.stride() != cr.stride():
        raise ValueError(f"{contract.op}: expected cb and cr of equal strides, got {cb.stride()} and {cr.stride()}")
    height, width = luma.shape
    if min(height, width) < 1:
        raise ValueError(f"{contract.op}: expected luma that is not empty, got {[*luma.shape]}")
    for steps in (Steps(1, 1), Steps(2, 1), Steps(1, 2), Steps(2, 2)):
        if cb.shape == (triton.cdiv(height, steps.y_px), triton.cdiv(width, steps.x_px)):
            return steps
    raise ValueError(
        f"{contract.op}: expected cb of luma's size {height} x {width}, or half of that rounded up, got {[*cb.shape]}"
    )


def values_ref(samples: Tensor, dtype: torch.dtype) -> Tensor:
    """The samples of a plane as numbers."""
    return (samples.to(torch.int32) & 0xFFFF).to(dtype)


@triton.jit
def numbers(samples):
    """The same of loaded samples, as int32."""
    return samples.to(tl.int32) & 0xFFFF


@triton.jit
def within(i, count):
    """Index `i` moved into 0..count - 1: what lies beyond an edge repeats it."""
    return tl.minimum(tl.maximum(i, 0), count - 1)


@triton.jit
def around(i, count, STEP: tl.constexpr):
    """Cells of STEP pixels, 1 or 2, around pixel i of `count`: the one it lies in, and the next beside it.

    Between the centres of the two, bilinear interpolation gives the next one a quarter.
    """
    if STEP == 1:
        return i, i
    return i // 2, within(i // 2 - 1 + i % 2 * 2, tl.cdiv(count, 2))
