"""x / rms(x) * weight over the whole width: what the queries of cross-attention pass through.

One program holds one token, which is read once and written once.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.chips import capability_of
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import WIDTH, Variant, pointers

OP = "rms_norm"


def rms_norm_ref(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The formula, in fp32 at least; the product is rounded once."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


@triton.jit(do_not_specialize=["tokens"])
def rms_norm_kernel(
    x_ptr,
    weight_ptr,
    out_ptr,
    x_batch_stride,
    x_token_stride,
    tokens,
    eps,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    token, batch = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    row = x_ptr + batch * x_batch_stride + token * x_token_stride
    x = tl.load(row + columns, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    y = x * tl.math.rsqrt(tl.sum(x * x, 0) / WIDTH + eps) * weight
    tl.store(out_ptr + (batch * tokens + token) * WIDTH + columns, narrow(y, out_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op("clear_rt::rms_norm", mutates_args=())
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [B, N, C] of any float, weight [C] -> [B, N, C] in the dtype of x, dense.

    Raises:
        ValueError: other shapes or dtypes, or gaps within a token.
        EngineError: no GPU.
    """
    contract = Contract(OP)
    contract.tensor("x", x, "B N C")
    contract.tensor("weight", weight, "C")
    batches, tokens, width = x.shape
    chosen = tile(OP, capability_of(x))
    out = _rms_norm_fake(x, weight, eps)
    if out.numel():
        rms_norm_kernel[tokens, batches](
            x,
            weight,
            out,
            x.stride(0),
            x.stride(1),
            tokens,
            eps,
            WIDTH=width,
            BLOCK=triton.next_power_of_2(width),
            num_warps=chosen.warps,
            num_stages=chosen.stages,
        )
    return out


@rms_norm.register_fake
def _rms_norm_fake(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def variants(capability: int) -> Iterator[Variant]:
    """Of Wan's width."""
    for dtype in ("bf16", "fp16"):
        given, _ = pointers(x_ptr=dtype, weight_ptr=dtype, out_ptr=dtype)
        strides = {"x_batch_stride": "i64", "x_token_stride": "i32"}
        yield Variant(
            name=f"{OP}-{dtype}",
            kernel=rms_norm_kernel,
            arguments=given | strides | {"tokens": "i32", "eps": "fp32"},
            constants={"WIDTH": WIDTH, "BLOCK": triton.next_power_of_2(WIDTH)},
            aligned=tuple(strides),
            tile=tile(OP, capability),
        )
