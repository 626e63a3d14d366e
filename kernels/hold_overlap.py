"""Policy `stream` where a window overlaps those before it: their blend leads it, and is faded out of its result.

    latents = (1 - sigma) * held + sigma * noise    before every step, held being the blend
    latents = shares * latents + kept * held        after the last

Both are one kernel; the step between them is `window_step` with shares of 1 that opens and closes every latent. As
there, the numbers are those of `clear_rt.denoise_stream` bit for bit, so that no product may be fused with a sum.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.chips import capability_of
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant, pointers
from clear_rt.kernels.window_step import STEPS, at_step

OP = "hold_overlap"
FP32 = (torch.float32,)


def hold_overlap_ref(latents: Tensor, held: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The new latents, in their dtype; `sigma` [1] is that of the step."""
    shared = held.shape[1]
    return torch.cat(((1 - sigma) * held + sigma * noise[:, :shared], latents[:, shared:]), 1)


def fade_overlap_ref(latents: Tensor, held: Tensor, shares: Tensor, kept: Tensor) -> Tensor:
    """The new latents, in their dtype."""
    shared = held.shape[1]
    faded = latents[:, :shared] * shares[:, None, None] + held * kept[:, None, None]
    return torch.cat((faded, latents[:, shared:]), 1)


@triton.jit
def hold_overlap_kernel(
    latents_ptr,
    held_ptr,
    other_ptr,
    shares_ptr,
    kept_ptr,
    step_ptr,
    total,
    shared,
    positions,
    steps,
    BLOCK: tl.constexpr,
):
    t, channel = tl.program_id(1), tl.program_id(2).to(tl.int64)
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < positions
    here = (channel * total + t) * positions + offsets
    if kept_ptr is None:
        share = at_step(shares_ptr, step_ptr, steps)
        kept = 1.0 - share
    else:
        share = tl.load(shares_ptr + t)
        kept = tl.load(kept_ptr + t)
    held = tl.load(held_ptr + (channel * shared + t) * positions + offsets, mask=inside)
    other = tl.load(other_ptr + here, mask=inside)
    tl.store(latents_ptr + here, kept * held + share * other, mask=inside)


@torch.library.custom_op("clear_rt::hold_overlap", mutates_args=("latents",))
def hold_overlap(latents: Tensor, held: Tensor, noise: Tensor, sigmas: Tensor, step: Tensor) -> None:
    """Sets the first S latents fp32 [C, L, h, w] to held [C, S, h, w] with noise [C, L, h, w] at the level of a step.

    sigmas fp32 [K], of which `step`, int32 or int64 [1], says which one counts; for one that is not in it latents
    become NaN.

    Raises ValueError for other shapes or dtypes or gaps in memory, EngineError where there is no GPU.
    """
    if not held.numel():
        return
    contract = Contract(OP)
    _check(contract, latents, held)
    contract.tensor("noise", noise, "C L h w", FP32, dense_axes=4)
    contract.tensor("sigmas", sigmas, "K", FP32)
    contract.tensor("step", step, "1", STEPS)
    _launch(latents, held, noise, sigmas, None, step)


@torch.library.custom_op("clear_rt::fade_overlap", mutates_args=("latents",))
def fade_overlap(latents: Tensor, held: Tensor, shares: Tensor, kept: Tensor) -> None:
    """Multiplies the first S latents fp32 [C, L, h, w] by shares fp32 [S], and adds kept [S] times held [C, S, h, w].

    Raises as `hold_overlap`.
    """
    if not held.numel():
        return
    contract = Contract("fade_overlap")
    _check(contract, latents, held)
    contract.tensor("shares", shares, "S", FP32)
    contract.tensor("kept", kept, "S", FP32)
    _launch(latents, held, latents, shares, kept, None)


@hold_overlap.register_fake
@fade_overlap.register_fake
def _fake(*_: object) -> None:
    return None


def _check(contract: Contract, latents: Tensor, held: Tensor) -> None:
    contract.tensor("latents", latents, "C L h w", FP32, dense_axes=4)
    contract.tensor("held", held, "C S h w", FP32, dense_axes=4)
    if held.shape[1] > latents.shape[1]:
        raise ValueError(
            f"{contract.op}: expected held of {latents.shape[1]} latents or fewer, as there are, got {held.shape[1]}"
        )


def _launch(
    latents: Tensor, held: Tensor, other: Tensor, shares: Tensor, kept: Tensor | None, step: Tensor | None
) -> None:
    channels, shared, height, width = held.shape
    chosen = tile(OP, capability_of(latents))
    hold_overlap_kernel[triton.cdiv(height * width, chosen.blocks["BLOCK"]), shared, channels](
        latents,
        held,
        other,
        shares,
        kept,
        step,
        latents.shape[1],
        shared,
        height * width,
        len(shares),
        **chosen.blocks,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
        enable_fp_fusion=False,
    )


def variants(capability: int) -> Iterator[Variant]:
    """Held at a step, with torch's own integer for it, and faded."""
    chosen = tile(OP, capability)
    for name, kept, step in ((OP, None, "i64"), ("fade_overlap", "fp32", None)):
        given, absent = pointers(
            latents_ptr="fp32", held_ptr="fp32", other_ptr="fp32", shares_ptr="fp32", kept_ptr=kept, step_ptr=step
        )
        yield Variant(
            name=name,
            kernel=hold_overlap_kernel,
            arguments=given | dict.fromkeys(("total", "shared", "positions", "steps"), "i32"),
            constants=absent | dict(chosen.blocks),
            tile=chosen,
            fp_fusion=False,
        )
