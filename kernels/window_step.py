"""One Euler step of one window: its velocity, by the window's share, joins that of its neighbours, and moves latents.

Latent t of the window, at once for every channel and position:

    sums = shares[t] * velocity           where opens[t]: no window before reaches the latent
    sums = sums + shares[t] * velocity    elsewhere
    latents = latents + change * sums     where closes[t]: no window after reaches it

Windows from left to right, as in `clear_rt.denoise_wavefront`, whose numbers these are bit for bit where the velocity
is fp32: the same operations in the same order, each rounded on its own. So no product may be fused with a sum, which
Triton decides per kernel: it is compiled with enable_fp_fusion=False.

All but `start` is read on the device, where a CUDA graph finds the next step's values.
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

OP = "window_step"
FLAGS = (torch.bool, torch.uint8)
STEPS = (torch.int32, torch.int64)


def window_step_ref(
    latents: Tensor,
    sums: Tensor,
    velocity: Tensor,
    start: int,
    shares: Tensor,
    opens: Tensor,
    closes: Tensor,
    change: Tensor,
) -> tuple[Tensor, Tensor]:
    """The new latents and sums, in their dtype; `change` [1] is that of the step."""
    window = slice(start, start + velocity.shape[1])
    added = velocity.to(sums.dtype) * shares[:, None, None]
    total = torch.where(opens[:, None, None].bool(), added, sums[:, window] + added)
    moved = torch.where(closes[:, None, None].bool(), latents[:, window] + total * change, latents[:, window])
    latents, sums = latents.clone(), sums.clone()
    latents[:, window], sums[:, window] = moved, total
    return latents, sums


@triton.jit
def at_step(table_ptr, step_ptr, steps):
    """The number of the step that is due, NaN where the table has none."""
    step = tl.load(step_ptr)
    return tl.load(table_ptr + step, mask=(step >= 0) & (step < steps), other=float("nan"))


# `start` is another one for every window: it must not be compiled in where it is 1 or a multiple of 16.
@triton.jit(do_not_specialize=("start",))
def window_step_kernel(
    latents_ptr,
    sums_ptr,
    velocity_ptr,
    shares_ptr,
    opens_ptr,
    closes_ptr,
    change_ptr,
    step_ptr,
    start,
    total,
    window,
    positions,
    steps,
    BLOCK: tl.constexpr,
):
    t, channel = tl.program_id(1), tl.program_id(2).to(tl.int64)
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < positions
    here = (channel * total + start + t) * positions + offsets
    velocity = tl.load(velocity_ptr + (channel * window + t) * positions + offsets, mask=inside).to(tl.float32)
    added = velocity * tl.load(shares_ptr + t)
    if tl.load(opens_ptr + t) == 0:
        added = tl.load(sums_ptr + here, mask=inside) + added
    tl.store(sums_ptr + here, added, mask=inside)
    if tl.load(closes_ptr + t) != 0:
        moved = tl.load(latents_ptr + here, mask=inside) + added * at_step(change_ptr, step_ptr, steps)
        tl.store(latents_ptr + here, moved, mask=inside)


@torch.library.custom_op("clear_rt::window_step", mutates_args=("latents", "sums"))
def window_step(
    latents: Tensor,
    sums: Tensor,
    velocity: Tensor,
    start: int,
    shares: Tensor,
    opens: Tensor,
    closes: Tensor,
    change: Tensor,
    step: Tensor,
) -> None:
    """Changes latents and sums fp32 [C, L, h, w] at the W latents from `start` on.

    velocity [C, W, h, w] of any float, shares fp32 [W], opens and closes bool or uint8 [W], change fp32 [S], of which
    `step`, int32 or int64 [1], says which one counts; for a step that is not in it latents become NaN.

    Raises ValueError for other shapes or dtypes, gaps in memory, or a window that is not within the latents,
    EngineError where there is no GPU.
    """
    if not velocity.numel():
        return
    contract = Contract(OP)
    contract.tensor("latents", latents, "C L h w", (torch.float32,), dense_axes=4)
    contract.tensor("sums", sums, "C L h w", (torch.float32,), dense_axes=4)
    contract.tensor("velocity", velocity, "C W h w", dense_axes=4)
    contract.tensor("shares", shares, "W", (torch.float32,))
    contract.tensor("opens", opens, "W", FLAGS)
    contract.tensor("closes", closes, "W", FLAGS)
    contract.tensor("change", change, "S", (torch.float32,))
    contract.tensor("step", step, "1", STEPS)
    total = latents.shape[1]
    channels, window, height, width = velocity.shape
    if not 0 <= start <= total - window:
        raise ValueError(f"{OP}: expected {window} latents from start on within {total}, got start {start}")
    chosen = tile(OP, capability_of(latents))
    window_step_kernel[triton.cdiv(height * width, chosen.blocks["BLOCK"]), window, channels](
        latents,
        sums,
        velocity,
        shares,
        opens.view(torch.uint8),
        closes.view(torch.uint8),
        change,
        step,
        start,
        total,
        window,
        height * width,
        len(change),
        **chosen.blocks,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
        enable_fp_fusion=False,
    )


@window_step.register_fake
def _window_step_fake(*_: object) -> None:
    return None


def variants(capability: int) -> Iterator[Variant]:
    """Of every velocity that an engine may have, with torch's own integer for the step."""
    chosen = tile(OP, capability)
    for dtype in ("bf16", "fp16", "fp32"):
        given, _ = pointers(
            latents_ptr="fp32",
            sums_ptr="fp32",
            velocity_ptr=dtype,
            shares_ptr="fp32",
            opens_ptr="u8",
            closes_ptr="u8",
            change_ptr="fp32",
            step_ptr="i64",
        )
        yield Variant(
            name=f"{OP}-{dtype}",
            kernel=window_step_kernel,
            arguments=given | dict.fromkeys(("start", "total", "window", "positions", "steps"), "i32"),
            constants=dict(chosen.blocks),
            tile=chosen,
            fp_fusion=False,
        )
