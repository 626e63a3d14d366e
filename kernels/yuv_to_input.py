"""A picture in its own pixel format -> the crop that the model sees: R, G, B in -1..1, padded with the last pixels.

    out[c, y, x] = clamp(matrix[c] . (Y, Cb, Cr, 1), -1, 1)    at pixel (y_px + y, x_px + x), moved into the picture

Chroma is taken for the mean of the pixels that share it, whatever its tag says, as `clear_rt.frames` does in exact
pictures and as `composite` makes it again: it is interpolated bilinearly between the centres of its cells.

RGB is not rounded to 8 bits, on which the model was trained: that would cost sources of 10 bits their lowest ones, and
those of 8 bits get closer to the truth by at most half a level, less than the step of bf16 near white (0.5 levels).

A program makes a stretch of one row, all three channels: samples are read where they lie, once but for chroma's
neighbours, and nothing but the input is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from clear_rt.kernels.chips import capability_of
from clear_rt.kernels.contract import FLOATS, Contract
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.planes import around, check_planes, numbers, values_ref, within
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant, pointers

OP = "yuv_to_input"
SCALARS = ("x_px", "y_px", "luma_height", "luma_width", "luma_row_stride", "chroma_row_stride", "chroma_column_stride",
           "width_px")  # fmt: skip


def yuv_to_input_ref(
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    matrix: Tensor,
    x_px: int,
    y_px: int,
    height_px: int,
    width_px: int,
) -> Tensor:
    """The formula [3, height_px, width_px], in the dtype of `matrix`."""
    height, width = luma.shape
    planes = [values_ref(plane, matrix.dtype) for plane in (luma, cb, cr)]
    for i in (1, 2):
        steps = [1 if of_chroma == of_luma else 2 for of_chroma, of_luma in zip(cb.shape, luma.shape, strict=True)]
        size = [count * step for count, step in zip(cb.shape, steps, strict=True)]
        planes[i] = functional.interpolate(planes[i][None, None], size, mode="bilinear")[0, 0, :height, :width]
    rgb = torch.einsum("cp,pyx->cyx", matrix[:, :3], torch.stack(planes)) + matrix[:, 3, None, None]
    rows = (torch.arange(height_px, device=luma.device) + y_px).clamp(0, height - 1)
    columns = (torch.arange(width_px, device=luma.device) + x_px).clamp(0, width - 1)
    return rgb.clamp(-1, 1)[:, rows[:, None], columns]


@triton.jit
def _bilinear(ptr, y, next_y, x, next_x):
    """Samples at rows and columns, given by their offsets: three quarters `y` and `x`, a quarter the next ones."""
    here, beside = numbers(tl.load(ptr + y + x)), numbers(tl.load(ptr + y + next_x))
    below, across = numbers(tl.load(ptr + next_y + x)), numbers(tl.load(ptr + next_y + next_x))
    return (9 * here + 3 * beside + 3 * below + across).to(tl.float32) * 0.0625


@triton.jit(do_not_specialize=SCALARS)
def yuv_to_input_kernel(
    luma_ptr,
    cb_ptr,
    cr_ptr,
    matrix_ptr,
    out_ptr,
    x_px,
    y_px,
    luma_height,
    luma_width,
    luma_row_stride,
    chroma_row_stride,
    chroma_column_stride,
    width_px,
    STEP_X: tl.constexpr,
    STEP_Y: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, height_px = tl.program_id(1), tl.num_programs(1)
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y, x = within(y_px + row, luma_height), within(x_px + columns, luma_width)
    luma = numbers(tl.load(luma_ptr + y.to(tl.int64) * luma_row_stride + x)).to(tl.float32)
    y, next_y = around(y, luma_height, STEP_Y)
    x, next_x = around(x, luma_width, STEP_X)
    y, next_y = y.to(tl.int64) * chroma_row_stride, next_y.to(tl.int64) * chroma_row_stride
    x, next_x = x * chroma_column_stride, next_x * chroma_column_stride
    cb = _bilinear(cb_ptr, y, next_y, x, next_x)
    cr = _bilinear(cr_ptr, y, next_y, x, next_x)
    for channel in tl.static_range(3):
        weights_ptr = matrix_ptr + 4 * channel
        colour = tl.load(weights_ptr) * luma + tl.load(weights_ptr + 3)
        colour += tl.load(weights_ptr + 1) * cb + tl.load(weights_ptr + 2) * cr
        out = narrow(tl.minimum(tl.maximum(colour, -1.0), 1.0), out_ptr.dtype.element_ty)
        place = (channel * height_px + row).to(tl.int64) * width_px + columns
        tl.store(out_ptr + place, out, mask=columns < width_px)


@torch.library.custom_op("clear_rt::yuv_to_input", mutates_args=())
def yuv_to_input(
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    matrix: Tensor,
    x_px: int,
    y_px: int,
    height_px: int,
    width_px: int,
    dtype: torch.dtype,
) -> Tensor:
    """The planes of a picture (`planes`) -> [3, height_px, width_px] of any float, from its pixel (y_px, x_px) on.

    `matrix` fp32 [3, 4] is `colour.input_matrix` of the samples' bits, 16 for P010: the zeros below its 10 count. What
    lies beyond the picture repeats its edge, on all four sides.

    Raises ValueError for other shapes, dtypes or strides, or an empty size, EngineError where there is no GPU.
    """
    contract = Contract(OP)
    steps = check_planes(contract, luma, cb, cr)
    contract.tensor("matrix", matrix, "3 4", (torch.float32,), dense_axes=2)
    if dtype not in FLOATS or min(height_px, width_px) < 1:
        raise ValueError(f"{OP}: expected a float and a size of 1 pixel or more, got {dtype}, {height_px} x {width_px}")
    chosen = tile(OP, capability_of(luma))
    out = _yuv_to_input_fake(luma, cb, cr, matrix, x_px, y_px, height_px, width_px, dtype)
    yuv_to_input_kernel[triton.cdiv(width_px, chosen.blocks["BLOCK"]), height_px](
        luma,
        cb,
        cr,
        matrix,
        out,
        x_px,
        y_px,
        *luma.shape,
        luma.stride(0),
        *cb.stride(),
        width_px,
        STEP_X=steps.x_px,
        STEP_Y=steps.y_px,
        **chosen.blocks,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )
    return out


@yuv_to_input.register_fake
def _yuv_to_input_fake(
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    matrix: Tensor,
    x_px: int,
    y_px: int,
    height_px: int,
    width_px: int,
    dtype: torch.dtype,
) -> Tensor:
    return luma.new_empty((3, height_px, width_px), dtype=dtype)


def variants(capability: int) -> Iterator[Variant]:
    """4:2:0 of 8 and of more bits, planar or interleaved, as decoders on the GPU give it, in fp32 or bf16."""
    chosen = tile(OP, capability)
    for samples, dtype in product(("u8", "u16"), ("bf16", "fp32")):
        given, _ = pointers(luma_ptr=samples, cb_ptr=samples, cr_ptr=samples, matrix_ptr="fp32", out_ptr=dtype)
        yield Variant(
            name=f"{OP}-{samples}-{dtype}",
            kernel=yuv_to_input_kernel,
            arguments=given | dict.fromkeys(SCALARS, "i32"),
            constants={"STEP_X": 2, "STEP_Y": 2, **chosen.blocks},
            # Cr of interleaved chroma begins one sample after Cb; packed planes begin anywhere.
            unaligned=("luma_ptr", "cb_ptr", "cr_ptr"),
            tile=chosen,
        )
