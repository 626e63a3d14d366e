"""Convolution over frames as one matrix product per tap: the VAE's, on buffers in which the past and a border wait.

x [F, H, W, C] holds every frame with its border of zeros and the frames before it, so that a tap is nothing but a
shift: all positions of a frame, its border included, are rows of one matrix [F * H * W, C], and a tap takes these rows
from another start. No block is cut at a picture's edge, no index is computed per element, and tensor memory access
fetches a whole block. What is computed for positions of the border is not stored.

96 channels are no power of 2: they are computed as 128 (430 TFLOP/s on an H100 where two products of 64 and 32 give
376); 192 as 128 and 64. cuDNN takes 1.2 to 1.9 times as long (docs/LOG.md, 2026-11-27).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context
from itertools import product
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from clear_rt.kernels.chips import capability_of
from clear_rt.kernels.contract import HALVES, Contract
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.tiles import Tile, tile
from clear_rt.kernels.variant import Variant, pointers

OP = "causal_conv"
# What tensor memory access fetches in one row are 64 bytes or more here.
LEAST_CHANNELS = 32
# Output channels that have a tile of their own; others take that of the next more.
OUTPUTS = (16, 96, 192, 384)


class Taps(NamedTuple):
    """Which positions around one are summed up: `frames` frames from it on, and rows and columns from `top`, `left`.

    `stride`: frames from one result to the next.
    """

    frames: int = 3
    rows: int = 3
    columns: int = 3
    top: int = 0
    left: int = 0
    stride: int = 1

    @property
    def weights(self) -> int:
        return self.frames * self.rows * self.columns


CUBE = Taps()


def causal_conv_ref(
    x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, residual: Tensor | None = None, taps: Taps = CUBE
) -> None:
    """As `causal_conv`, in the dtype of x at least fp32; rounded once."""
    wide = torch.promote_types(x.dtype, torch.float32)
    frames, height, width, channels = out.shape
    shape = (taps.frames, taps.rows, taps.columns, channels, x.shape[-1])
    kernel = weight.to(wide).reshape(shape).permute(3, 4, 0, 1, 2)
    rows, columns = (taps.top, taps.top + height + taps.rows - 1), (taps.left, taps.left + width + taps.columns - 1)
    seen = x[:, rows[0] : rows[1], columns[0] : columns[1]].to(wide).permute(3, 0, 1, 2)[None]
    found = functional.conv3d(seen, kernel, None if bias is None else bias.to(wide), (taps.stride, 1, 1))
    found = found[0].permute(1, 2, 3, 0)[:frames]
    out.copy_(found if residual is None else found + residual.to(wide))


@triton.jit
def _store(acc, columns, inside, place, residual_place, bias_ptr, residual_ptr, out_ptr, OUTPUTS: tl.constexpr):
    real = columns < OUTPUTS
    if bias_ptr is not None:
        acc += tl.load(bias_ptr + columns, mask=real, other=0.0).to(tl.float32)[None, :]
    mask = inside[:, None] & real[None, :]
    if residual_ptr is not None:
        acc += tl.load(residual_ptr + residual_place[:, None] + columns[None, :], mask=mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + place[:, None] + columns[None, :], narrow(acc, out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _product(a, b, acc, UPCAST: tl.constexpr):
    # The interpreter multiplies the bits of bfloat16.
    if UPCAST:
        return acc + tl.dot(a.to(tl.float32), b.to(tl.float32).trans(), input_precision="ieee")
    return tl.dot(a, b.trans(), acc)


# Strides are left to be specialised: where they are multiples of 16, stores are 16 bytes wide.
@triton.jit(do_not_specialize=["frames", "height", "width", "x_rows", "pitch", "x_frame", "top", "left"])
def causal_conv_kernel(
    x_ptr,
    weight_ptr,
    bias_ptr,
    residual_ptr,
    out_ptr,
    frames,
    height,
    width,
    x_rows,
    pitch,
    x_frame,
    out_frame_stride,
    out_row_stride,
    out_column_stride,
    residual_frame_stride,
    residual_row_stride,
    residual_column_stride,
    top,
    left,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STRIDE: tl.constexpr,
    BLOCK_POSITIONS: tl.constexpr,
    BLOCK_OUTPUTS: tl.constexpr,
    BLOCK_MORE: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    UPCAST: tl.constexpr,
):
    x = tl.make_tensor_descriptor(
        x_ptr, shape=[x_rows, CHANNELS], strides=[CHANNELS, 1], block_shape=[BLOCK_POSITIONS, BLOCK_CHANNELS]
    )
    weight = tl.make_tensor_descriptor(
        weight_ptr,
        shape=[TAPS * OUTPUTS, CHANNELS],
        strides=[CHANNELS, 1],
        block_shape=[BLOCK_OUTPUTS, BLOCK_CHANNELS],
    )
    across: tl.constexpr = 1 if BLOCK_MORE > 0 else (OUTPUTS + BLOCK_OUTPUTS - 1) // BLOCK_OUTPUTS
    parts: tl.constexpr = CHANNELS // BLOCK_CHANNELS
    # Programs of the same positions follow each other, so that they share them in the L2 cache.
    output = tl.program_id(0) % across * BLOCK_OUTPUTS
    block = tl.program_id(0) // across
    # From the first position of a picture to its last the border on the right is passed over as well.
    blocks = tl.cdiv((height - 1) * pitch + width, BLOCK_POSITIONS)
    frame = block // blocks
    first = block % blocks * BLOCK_POSITIONS
    begin = frame * STRIDE * x_frame + first + top * pitch + left
    acc = tl.zeros([BLOCK_POSITIONS, BLOCK_OUTPUTS], tl.float32)
    if BLOCK_MORE > 0:
        more_weight = tl.make_tensor_descriptor(
            weight_ptr,
            shape=[TAPS * OUTPUTS, CHANNELS],
            strides=[CHANNELS, 1],
            block_shape=[BLOCK_MORE, BLOCK_CHANNELS],
        )
        more = tl.zeros([BLOCK_POSITIONS, BLOCK_MORE], tl.float32)
    for i in range(TAPS * parts):
        tap = i // parts
        channel = i % parts * BLOCK_CHANNELS
        shift = tap // (ROWS * COLUMNS) * x_frame + tap // COLUMNS % ROWS * pitch + tap % COLUMNS
        a = x.load([begin + shift, channel])
        acc = _product(a, weight.load([tap * OUTPUTS + output, channel]), acc, UPCAST)
        if BLOCK_MORE > 0:
            more = _product(a, more_weight.load([tap * OUTPUTS + BLOCK_OUTPUTS, channel]), more, UPCAST)
    position = first + tl.arange(0, BLOCK_POSITIONS)
    row = position // pitch
    column = position % pitch
    inside = (row < height) & (column < width)
    wide = frame.to(tl.int64)
    place = wide * out_frame_stride + row * out_row_stride + column * out_column_stride
    residual_place = wide * residual_frame_stride + row * residual_row_stride + column * residual_column_stride
    columns = output + tl.arange(0, BLOCK_OUTPUTS)
    _store(acc, columns, inside, place, residual_place, bias_ptr, residual_ptr, out_ptr, OUTPUTS)
    if BLOCK_MORE > 0:
        columns = BLOCK_OUTPUTS + tl.arange(0, BLOCK_MORE)
        _store(more, columns, inside, place, residual_place, bias_ptr, residual_ptr, out_ptr, OUTPUTS)


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, residual: Tensor | None = None, taps: Taps = CUBE
) -> None:
    """x [F, h, w, C], weight [taps, N, C], bias [N] -> out [T, H, W, N], of any strides but along N; plus `residual`.

    out[t, y, x] = sum over taps (f, r, c) of weight times x[stride t + f, y + top + r, x + left + c]. x, weight and
    residual are of one dtype, fp16 or bf16, summed up in fp32. C is a multiple of 32. x must hold all that is summed
    up: F >= stride (T - 1) + frames, h >= H + top + rows - 1, and so for w.

    Raises ValueError for other shapes, dtypes or strides, EngineError where there is no GPU.
    """
    _check(x, weight, bias, out, residual, taps)
    frames, height, width, outputs = out.shape
    channels, capability = x.shape[3], capability_of(x)
    chosen = _tile(outputs, capability)
    blocks = _blocks(channels, chosen)
    pitch = x.shape[2]
    per_frame = triton.cdiv((height - 1) * pitch + width, blocks["BLOCK_POSITIONS"])
    across = 1 if blocks["BLOCK_MORE"] else triton.cdiv(outputs, blocks["BLOCK_OUTPUTS"])
    residual_strides = (0, 0, 0) if residual is None else residual.stride()[:3]

    def start() -> None:
        triton.set_allocator(lambda size, alignment, stream: torch.empty(size, dtype=torch.int8, device=x.device))
        causal_conv_kernel[(frames * per_frame * across,)](
            x,
            weight,
            bias,
            residual,
            out,
            frames,
            height,
            width,
            x.shape[0] * x.shape[1] * pitch,
            pitch,
            x.shape[1] * pitch,
            *out.stride()[:3],
            *residual_strides,
            taps.top,
            taps.left,
            CHANNELS=channels,
            OUTPUTS=outputs,
            TAPS=taps.weights,
            ROWS=taps.rows,
            COLUMNS=taps.columns,
            STRIDE=taps.stride,
            **blocks,
            UPCAST=not x.is_cuda,
            num_warps=chosen.warps,
            num_stages=chosen.stages,
        )

    # Triton keeps its allocator in the context: in a copy, so that the caller's stays.
    copy_context().run(start)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, residual: Tensor | None, taps: Taps) -> None:
    contract = Contract(OP)
    contract.tensor("x", x, "F h w C", HALVES, dense_axes=4)
    contract.tensor("weight", weight, f"{taps.weights} N C", (x.dtype,), dense_axes=3)
    contract.tensor("out", out, "T H W N", (*HALVES, torch.float32))
    if bias is not None:
        contract.tensor("bias", bias, "N")
    if residual is not None:
        contract.tensor("residual", residual, "T H W N", (x.dtype,))
    sizes = contract.sizes
    if sizes["C"] % LEAST_CHANNELS:
        raise ValueError(f"{OP}: expected x of a multiple of {LEAST_CHANNELS} channels, got {sizes['C']}")
    needed = (
        taps.stride * (sizes["T"] - 1) + taps.frames,
        sizes["H"] + taps.top + taps.rows - 1,
        sizes["W"] + taps.left + taps.columns - 1,
    )
    if any(has < least for has, least in zip(x.shape[:3], needed, strict=True)):
        raise ValueError(f"{OP}: expected x of {list(needed)} positions or more for this out, got {[*x.shape[:3]]}")


def _tile(outputs: int, capability: int) -> Tile:
    """That of the next larger number of channels."""
    return tile(OP, capability, outputs=next((size for size in OUTPUTS if size >= outputs), OUTPUTS[-1]))


def _blocks(channels: int, chosen: Tile) -> dict[str, int]:
    """The tile's, with the largest block of channels that divides them."""
    blocks = dict(chosen.blocks)
    most = blocks["BLOCK_CHANNELS"]
    while channels % most:
        most //= 2
    blocks["BLOCK_CHANNELS"] = most
    return blocks


def variants(capability: int) -> Iterator[Variant]:
    """Of Wan's VAE: what its widths and halvings and doublings need."""
    shapes = ((96, 96, CUBE), (192, 192, CUBE), (384, 384, CUBE), (192, 96, Taps(1, 2, 2)), (384, 192, Taps(1, 2, 2)))
    sizes = (
        *("frames", "height", "width", "x_rows", "pitch", "x_frame"),
        *(f"{name}_{axis}_stride" for name in ("out", "residual") for axis in ("frame", "row", "column")),
        *("top", "left"),
    )
    for dtype, (channels, outputs, taps), adds in product(("bf16", "fp16"), shapes, (False, True)):
        chosen = _tile(outputs, capability)
        given, absent = pointers(
            x_ptr=dtype, weight_ptr=dtype, bias_ptr="fp32", residual_ptr=dtype if adds else None, out_ptr=dtype
        )
        yield Variant(
            name="-".join([OP, dtype, f"{channels}x{outputs}", f"{taps.weights}taps"] + ["adds"] * adds),
            kernel=causal_conv_kernel,
            arguments=given | dict.fromkeys(sizes, "i32"),
            aligned=tuple(name for name in sizes if name.endswith("stride")),
            constants=absent
            | {
                "CHANNELS": channels,
                "OUTPUTS": outputs,
                "TAPS": taps.weights,
                "ROWS": taps.rows,
                "COLUMNS": taps.columns,
                "STRIDE": taps.stride,
                "UPCAST": False,
            }
            | _blocks(channels, chosen),
            tile=chosen,
        )
