"""layer_norm(x) * (1 + scale) + shift: what stands before both attentions and the feed-forward network of a block.

One program holds one token, which is read once and written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from clear_rt.kernels.chips import capability_of, has_fp8, require_fp8
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import WIDTH, Variant, pointers
from clear_rt.models.fp8 import E4M3, to_e4m3

OP = "norm_modulate"


def norm_modulate_ref(x: Tensor, shift: Tensor, scale: Tensor, eps: float, inverse: Tensor | None = None) -> Tensor:
    """The formula, in fp32 at least; the sum is rounded once."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    y = functional.layer_norm(wide, x.shape[-1:], eps=eps) * (1 + scale) + shift
    return y.to(x.dtype) if inverse is None else to_e4m3(y * inverse)


@triton.jit
def normalised(x, inside, WIDTH: tl.constexpr, eps):
    """A token [BLOCK] in fp32, of which `inside` counts: less its mean, over its deviation."""
    centred = tl.where(inside, x - tl.sum(x, 0) / WIDTH, 0.0)
    return centred * tl.math.rsqrt(tl.sum(centred * centred, 0) / WIDTH + eps)


@triton.jit(do_not_specialize=["tokens"])
def norm_modulate_kernel(
    x_ptr,
    shift_ptr,
    scale_ptr,
    inverse_ptr,
    out_ptr,
    x_batch_stride,
    x_token_stride,
    tokens,
    eps,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    TO_FP8: tl.constexpr,
):
    token, batch = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    row = x_ptr + batch * x_batch_stride + token * x_token_stride
    x = tl.load(row + columns, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(scale_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(shift_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    y = normalised(x, inside, WIDTH, eps) * (1.0 + scale) + shift
    if TO_FP8:
        y *= tl.load(inverse_ptr)
    tl.store(out_ptr + (batch * tokens + token) * WIDTH + columns, narrow(y, out_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op("clear_rt::norm_modulate", mutates_args=())
def norm_modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float, inverse: Tensor | None = None) -> Tensor:
    """x [B, N, C] of any float, shift and scale [C] -> [B, N, C] in the dtype of x.

    With `inverse` fp32 [1] the result is multiplied by it and rounded to E4M3, the input of an FP8 linear. LayerNorm
    with learned weight and bias is this with scale = weight - 1 and shift = bias.

    Raises:
        ValueError: other shapes or dtypes, or gaps within a token.
        EngineError: no GPU, or one that has no FP8 where `inverse` is given.
    """
    contract = Contract(OP)
    contract.tensor("x", x, "B N C")
    check_modulation(contract, x, shift, scale, inverse)
    batches, tokens, width = x.shape
    chosen = tile(OP, capability_of(x))
    out = _norm_modulate_fake(x, shift, scale, eps, inverse)
    if out.numel():
        norm_modulate_kernel[tokens, batches](
            x,
            shift,
            scale,
            inverse,
            out,
            x.stride(0),
            x.stride(1),
            tokens,
            eps,
            WIDTH=width,
            BLOCK=triton.next_power_of_2(width),
            TO_FP8=inverse is not None,
            num_warps=chosen.warps,
            num_stages=chosen.stages,
        )
    return out


@norm_modulate.register_fake
def _norm_modulate_fake(x: Tensor, shift: Tensor, scale: Tensor, eps: float, inverse: Tensor | None = None) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype if inverse is None else E4M3, device=x.device)


def check_modulation(contract: Contract, x: Tensor, shift: Tensor, scale: Tensor, inverse: Tensor | None) -> None:
    """What the norm asks for besides its input, here and behind `gate_residual`."""
    contract.tensor("shift", shift, "C")
    contract.tensor("scale", scale, "C")
    if inverse is not None:
        contract.tensor("inverse", inverse, "1", (torch.float32,))
        require_fp8(contract.op, x)


def variants(capability: int) -> Iterator[Variant]:
    """Of Wan's width."""
    for dtype, to_fp8 in product(("bf16", "fp16"), (False, True)):
        if to_fp8 and not has_fp8(capability):
            continue
        given, absent = pointers(
            x_ptr=dtype,
            shift_ptr="fp32",
            scale_ptr="fp32",
            inverse_ptr="fp32" if to_fp8 else None,
            out_ptr="fp8e4nv" if to_fp8 else dtype,
        )
        strides = {"x_batch_stride": "i64", "x_token_stride": "i32"}
        yield Variant(
            name="-".join([OP, dtype] + ["fp8"] * to_fp8),
            kernel=norm_modulate_kernel,
            arguments=given | strides | {"tokens": "i32", "eps": "fp32"},
            constants=absent | {"WIDTH": WIDTH, "BLOCK": triton.next_power_of_2(WIDTH), "TO_FP8": to_fp8},
            aligned=tuple(strides),
            tile=tile(OP, capability),
        )
