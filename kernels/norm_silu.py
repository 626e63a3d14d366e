"""silu(rms_norm(x)) behind the two frames before it: the input of the VAE's next causal convolution, in its buffer.

The buffer `joined` [B, C, 2 + T, H, W] lies in channels_last_3d memory. Frames are read once and written once; norm,
SiLU and joining apart do so three times. The step after takes its past from the end of `joined`, or, where many layers
share one buffer, from `kept`. `joined` may have a border of one position around its frames, which is left as it is:
zeros there are the padding of the convolution.

One program holds some positions with all their channels, and goes through their frames. Nobody else touches these, so
that the past may come from `joined` or from `kept` itself.
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
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.tiles import Tile, tile
from clear_rt.kernels.variant import Variant, pointers
from clear_rt.models.vae_blocks import NORM_EPS, PAST_FRAMES

OP = "norm_silu"
# Of Wan's VAE.
WIDTHS = (96, 192, 384)

_PAST = tl.constexpr(PAST_FRAMES)
_LEAST_SQUARE = tl.constexpr(NORM_EPS**2)


def norm_silu_ref(x: Tensor, gamma: Tensor, past: Tensor | None = None) -> Tensor:
    """The formula, in fp32 at least; rounded once. Of `past`, as long as it likes, the last two frames count."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    length = wide.square().sum(1, keepdim=True).clamp_min(NORM_EPS**2).sqrt()
    y = functional.silu(wide / length * x.shape[1] ** 0.5 * gamma[:, None, None, None]).to(x.dtype)
    if past is None:
        return functional.pad(y, (0, 0, 0, 0, PAST_FRAMES, 0))
    return torch.cat((past[:, :, -PAST_FRAMES:], y), 2)


@triton.jit
def _place(position, width, BORDER: tl.constexpr):
    """Where a position lies in a frame with a border around it."""
    if BORDER == 0:
        return position
    return (position // width + BORDER) * (width + 2 * BORDER) + position % width + BORDER


@triton.jit(do_not_specialize=["frames", "past_frames", "height", "width"])
def norm_silu_kernel(
    x_ptr,
    gamma_ptr,
    joined_ptr,
    past_ptr,
    kept_ptr,
    frames,
    past_frames,
    height,
    width,
    CHANNELS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_POSITIONS: tl.constexpr,
    BORDER: tl.constexpr,
    PAST_BORDER: tl.constexpr,
):
    first, batch = tl.program_id(0).to(tl.int64) * BLOCK_POSITIONS, tl.program_id(1).to(tl.int64)
    positions = height * width
    padded = (height + 2 * BORDER) * (width + 2 * BORDER)
    past_padded = (height + 2 * PAST_BORDER) * (width + 2 * PAST_BORDER)
    rows, columns = first + tl.arange(0, BLOCK_POSITIONS)[:, None], tl.arange(0, BLOCK_CHANNELS)[None, :]
    inside = (rows < positions) & (columns < CHANNELS)
    block = rows * CHANNELS + columns
    joined_block = joined_ptr + _place(rows, width, BORDER) * CHANNELS + columns
    to = batch * (frames + _PAST)
    older = tl.zeros([BLOCK_POSITIONS, BLOCK_CHANNELS], joined_ptr.dtype.element_ty)
    newer = older
    if past_ptr is not None:
        end = (batch + 1) * past_frames
        past_block = past_ptr + _place(rows, width, PAST_BORDER) * CHANNELS + columns
        older = tl.load(past_block + (end - 2) * past_padded * CHANNELS, mask=inside)
        newer = tl.load(past_block + (end - 1) * past_padded * CHANNELS, mask=inside)
        # Where the past comes from what is written, a store may hit what another thread still has to load.
        tl.debug_barrier()
    tl.store(joined_block + to * padded * CHANNELS, older, mask=inside)
    tl.store(joined_block + (to + 1) * padded * CHANNELS, newer, mask=inside)
    if kept_ptr is not None:
        # By the number of the frame: two values handed on from turn to turn that begin as the same zeros are made one
        # by Triton 3.6 and 3.8.
        kept_block = kept_ptr + batch * _PAST * positions * CHANNELS + block
        tl.store(kept_block, newer, mask=inside & (frames == 1))
    gamma = tl.load(gamma_ptr + columns, mask=columns < CHANNELS, other=0.0).to(tl.float32)
    for frame in range(frames):
        x_block = x_ptr + (batch * frames + frame) * positions * CHANNELS + block
        x = tl.load(x_block, mask=inside, other=0.0).to(tl.float32)
        square = tl.sum(x * x, 1, keep_dims=True)
        square = tl.maximum(square, _LEAST_SQUARE, propagate_nan=tl.PropagateNan.ALL)
        y = x * tl.math.rsqrt(square / CHANNELS) * gamma
        y = narrow(y / (1.0 + tl.exp(-y)), joined_ptr.dtype.element_ty)
        tl.store(joined_block + (to + _PAST + frame) * padded * CHANNELS, y, mask=inside)
        if kept_ptr is not None:
            place = tl.cast(frame - frames + _PAST, tl.int64)
            tl.store(kept_block + place * positions * CHANNELS, y, mask=inside & (place >= 0))


@torch.library.custom_op("clear_rt::norm_silu", mutates_args=("joined", "kept"))
def norm_silu(x: Tensor, gamma: Tensor, joined: Tensor, past: Tensor | None, kept: Tensor | None) -> None:
    """x [B, C, T, H, W] of any float, gamma [C] -> joined [B, C, 2 + T, H, W] or [B, C, 2 + T, H + 2, W + 2].

    joined begins with the last two frames of `past` [B, C, 2 or more, H, W], or with zeros where the run begins; of the
    larger one the border stays as it is. Its last two frames are `kept` [B, C, 2, H, W] as well where that is given.
    `past` may be `joined` or `kept` itself, else none of them share memory. All lie in channels_last_3d memory.

    Raises ValueError for other shapes, dtypes or strides, EngineError where there is no GPU.
    """
    border, past_border = _check(x, gamma, joined, past, kept)
    batches, channels, frames, height, width = x.shape
    chosen = tile(OP, capability_of(x))
    blocks = _blocks(channels, chosen)
    norm_silu_kernel[triton.cdiv(height * width, blocks["BLOCK_POSITIONS"]), batches](
        x,
        gamma,
        joined,
        past,
        kept,
        frames,
        0 if past is None else past.shape[2],
        height,
        width,
        **blocks,
        BORDER=border,
        PAST_BORDER=past_border,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )


@norm_silu.register_fake
def _norm_silu_fake(*_: object) -> None:
    return None


def _check(x: Tensor, gamma: Tensor, joined: Tensor, past: Tensor | None, kept: Tensor | None) -> tuple[int, int]:
    """The borders of joined and past."""
    if x.ndim == 5 and 0 in x.shape:
        raise ValueError(f"{OP}: expected x that is not empty, got {[*x.shape]}")
    contract = Contract(OP)
    contract.tensor("x", x, "B C T H W", dense_axes=0)
    contract.tensor("gamma", gamma, "C")
    height, width = x.shape[3:]
    border = int(joined.ndim == 5 and joined.shape[3] == height + 2)
    axes = _axes(height, width, border)
    contract.tensor("joined", joined, f"B C {PAST_FRAMES + x.shape[2]} {axes}", (x.dtype,), dense_axes=0)
    past_border = 0
    if past is not None:
        past_border = border if past.data_ptr() == joined.data_ptr() else 0
        contract.tensor("past", past, f"B C P {_axes(height, width, past_border)}", (x.dtype,), dense_axes=0)
        if past.shape[2] < PAST_FRAMES:
            raise ValueError(f"{OP}: expected past of {PAST_FRAMES} frames or more, got {past.shape[2]}")
    if kept is not None:
        contract.tensor("kept", kept, f"B C {PAST_FRAMES} H W", (x.dtype,), dense_axes=0)
    for name, tensor in (("x", x), ("joined", joined), ("past", past), ("kept", kept)):
        if tensor is not None and not tensor.is_contiguous(memory_format=torch.channels_last_3d):
            raise ValueError(
                f"{OP}: expected {name} {[*tensor.shape]} with channels last in memory, got strides "
                f"{tensor.stride()}; call .to(memory_format=torch.channels_last_3d) on it"
            )
    return border, past_border


def _axes(height: int, width: int, border: int) -> str:
    return f"{height + 2} {width + 2}" if border else "H W"


def _blocks(channels: int, chosen: Tile) -> dict[str, int]:
    """As many positions as make up the tile's elements: with few channels loads are wide all the same."""
    block = triton.next_power_of_2(channels)
    positions = max(1, chosen.blocks["ELEMENTS"] // block)
    return {"CHANNELS": channels, "BLOCK_CHANNELS": block, "BLOCK_POSITIONS": positions}


def variants(capability: int) -> Iterator[Variant]:
    """Of the widths of Wan's VAE, at the beginning of a run and after it; `stream`: with a border, and what is kept."""
    chosen = tile(OP, capability)
    for dtype, channels, begins, streams in product(("bf16", "fp16"), WIDTHS, (True, False), (False, True)):
        given, absent = pointers(
            x_ptr=dtype,
            gamma_ptr="fp32",
            joined_ptr=dtype,
            past_ptr=None if begins else dtype,
            kept_ptr=dtype if streams else None,
        )
        yield Variant(
            name="-".join([OP, dtype, str(channels)] + ["begins"] * begins + ["stream"] * streams),
            kernel=norm_silu_kernel,
            arguments=given | {"frames": "i32", "past_frames": "i32", "height": "i32", "width": "i32"},
            constants=absent | _blocks(channels, chosen) | {"BORDER": int(streams), "PAST_BORDER": 0},
            tile=chosen,
        )
