"""A picture on the GPU as three planes of integer samples, as `kernels/planes.py` has it.

Luma [H, W], Cb and Cr [ceil(H / step_y), ceil(W / step_x)] with steps of 1 or 2, 8 or 16 bits. Cb and Cr may be views
of one interleaved plane, as NV12 and P010 have it (`chroma_of`).
"""

from __future__ import annotations

from typing import NamedTuple

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.contract import SAMPLES, Contract, blocks


class Steps(NamedTuple):
    """Pixels per chroma sample, across and down."""

    x_px: int
    y_px: int


def check_planes(contract: Contract, luma: DeviceArray, cb: DeviceArray, cr: DeviceArray) -> Steps:
    """Chroma's steps, by its size. Raises ValueError where the planes are not those of one picture."""
    contract.array("luma", luma, "H W", SAMPLES)
    contract.array("cb", cb, "h w", (luma.dtype,), dense_axes=0)
    contract.array("cr", cr, "h w", (luma.dtype,), dense_axes=0)
    if cb.strides != cr.strides:
        raise ValueError(f"{contract.op}: expected cb and cr of equal strides, got {cb.strides} and {cr.strides}")
    height, width = luma.shape
    if min(height, width) < 1:
        raise ValueError(f"{contract.op}: expected luma that is not empty, got {[*luma.shape]}")
    for steps in (Steps(1, 1), Steps(2, 1), Steps(1, 2), Steps(2, 2)):
        if cb.shape == (blocks(height, steps.y_px), blocks(width, steps.x_px)):
            return steps
    raise ValueError(
        f"{contract.op}: expected cb of luma's size {height} x {width}, or half of that rounded up, got {[*cb.shape]}"
    )


def chroma_of(interleaved: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Cb and Cr of a plane [h, w, 2] as NV12 and P010 have it, views of it. Raises ValueError for another shape."""
    if len(interleaved.shape) != 3 or interleaved.shape[2] != 2:
        raise ValueError(f"expected interleaved chroma [h, w, 2], got {[*interleaved.shape]}")
    height, width, _ = interleaved.shape
    rows = slice(0, height), slice(0, width)
    return interleaved[(*rows, 0)], interleaved[(*rows, 1)]


def samples_of(array: DeviceArray) -> str:
    """The name that variants of kernels have for its samples: 16 bits are taken as unsigned."""
    return "u8" if array.dtype == "u8" else "u16"
