"""silu(rms_norm(x)) behind the two frames before it: the input of the VAE's next causal convolution, in its buffer.

The buffer `joined` [B, C, 2 + T, H, W] lies in channels_last_3d memory and outlives the step: the step after takes its
past from the end of it. Frames are read once and written once; norm, SiLU and joining apart do so three times.

One program holds some positions with all their channels, and goes through their frames. Nobody else touches these, so
that the past may come from `joined` itself.
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
def _block_of(ptr, frame, first, positions, CHANNELS: tl.constexpr):
    """Where the positions from `first` on begin in a frame; 64 bits, as `frame` counts through all batches."""
    return ptr + (frame * positions + first) * CHANNELS


@triton.jit(do_not_specialize=["frames", "past_frames", "positions"])
def norm_silu_kernel(
    x_ptr,
    gamma_ptr,
    joined_ptr,
    past_ptr,
    frames,
    past_frames,
    positions,
    CHANNELS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_POSITIONS: tl.constexpr,
):
    first, batch = tl.program_id(0).to(tl.int64) * BLOCK_POSITIONS, tl.program_id(1).to(tl.int64)
    rows, columns = tl.arange(0, BLOCK_POSITIONS)[:, None], tl.arange(0, BLOCK_CHANNELS)[None, :]
    block = rows * CHANNELS + columns
    inside = (first + rows < positions) & (columns < CHANNELS)
    to = batch * (frames + _PAST)
    older = tl.zeros([BLOCK_POSITIONS, BLOCK_CHANNELS], joined_ptr.dtype.element_ty)
    newer = older
    if past_ptr is not None:
        end = (batch + 1) * past_frames
        older = tl.load(_block_of(past_ptr, end - 2, first, positions, CHANNELS) + block, mask=inside)
        newer = tl.load(_block_of(past_ptr, end - 1, first, positions, CHANNELS) + block, mask=inside)
        # Where the past comes from `joined`, a store may hit what another thread still has to load.
        tl.debug_barrier()
    tl.store(_block_of(joined_ptr, to, first, positions, CHANNELS) + block, older, mask=inside)
    tl.store(_block_of(joined_ptr, to + 1, first, positions, CHANNELS) + block, newer, mask=inside)
    gamma = tl.load(gamma_ptr + columns, mask=columns < CHANNELS, other=0.0).to(tl.float32)
    for frame in range(frames):
        x_block = _block_of(x_ptr, batch * frames + frame, first, positions, CHANNELS) + block
        x = tl.load(x_block, mask=inside, other=0.0).to(tl.float32)
        square = tl.sum(x * x, 1, keep_dims=True)
        square = tl.maximum(square, _LEAST_SQUARE, propagate_nan=tl.PropagateNan.ALL)
        y = x * tl.math.rsqrt(square / CHANNELS) * gamma
        y = narrow(y / (1.0 + tl.exp(-y)), joined_ptr.dtype.element_ty)
        tl.store(_block_of(joined_ptr, to + _PAST + frame, first, positions, CHANNELS) + block, y, mask=inside)


@torch.library.custom_op("clear_rt::norm_silu", mutates_args=("joined",))
def norm_silu(x: Tensor, gamma: Tensor, joined: Tensor, past: Tensor | None = None) -> None:
    """x [B, C, T, H, W] of any float, gamma [C] -> all of joined [B, C, 2 + T, H, W], both in channels_last_3d memory.

    joined begins with the last two frames of `past` [B, C, 2 or more, H, W], the buffer of the step before, or with
    zeros where the run begins. `past` may be `joined` itself, else they share no memory.

    Raises ValueError for other shapes, dtypes or strides, EngineError where there is no GPU.
    """
    _check(x, gamma, joined, past)
    batches, channels, frames, height, width = x.shape
    chosen = tile(OP, capability_of(x))
    blocks = _blocks(channels, chosen)
    norm_silu_kernel[triton.cdiv(height * width, blocks["BLOCK_POSITIONS"]), batches](
        x,
        gamma,
        joined,
        past,
        frames,
        0 if past is None else past.shape[2],
        height * width,
        **blocks,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )


@norm_silu.register_fake
def _norm_silu_fake(*_: object) -> None:
    return None


def _check(x: Tensor, gamma: Tensor, joined: Tensor, past: Tensor | None) -> None:
    if x.ndim == 5 and 0 in x.shape:
        raise ValueError(f"{OP}: expected x that is not empty, got {[*x.shape]}")
    contract = Contract(OP)
    contract.tensor("x", x, "B C T H W", dense_axes=0)
    contract.tensor("gamma", gamma, "C")
    contract.tensor("joined", joined, f"B C {PAST_FRAMES + x.shape[2]} H W", (x.dtype,), dense_axes=0)
    if past is not None:
        contract.tensor("past", past, "B C P H W", (x.dtype,), dense_axes=0)
        if past.shape[2] < PAST_FRAMES:
            raise ValueError(f"{OP}: expected past of {PAST_FRAMES} frames or more, got {past.shape[2]}")
    for name, tensor in (("x", x), ("joined", joined), ("past", past)):
        if tensor is not None and not tensor.is_contiguous(memory_format=torch.channels_last_3d):
            raise ValueError(
                f"{OP}: expected {name} {[*tensor.shape]} with channels last in memory, got strides "
                f"{tensor.stride()}; call .to(memory_format=torch.channels_last_3d) on it"
            )


def _blocks(channels: int, chosen: Tile) -> dict[str, int]:
    """As many positions as make up the tile's elements: with few channels loads are wide all the same."""
    block = triton.next_power_of_2(channels)
    positions = max(1, chosen.blocks["ELEMENTS"] // block)
    return {"CHANNELS": channels, "BLOCK_CHANNELS": block, "BLOCK_POSITIONS": positions}


def variants(capability: int) -> Iterator[Variant]:
    """Of the widths of Wan's VAE, at the beginning of a run and after it."""
    chosen = tile(OP, capability)
    for dtype, channels, begins in product(("bf16", "fp16"), WIDTHS, (True, False)):
        given, absent = pointers(x_ptr=dtype, gamma_ptr="fp32", joined_ptr=dtype, past_ptr=None if begins else dtype)
        yield Variant(
            name="-".join([OP, dtype, str(channels)] + ["begins"] * begins),
            kernel=norm_silu_kernel,
            arguments=given | {"frames": "i32", "past_frames": "i32", "positions": "i32"},
            constants=absent | _blocks(channels, chosen),
            tile=chosen,
        )
