"""tanh-GELU, what stands between the two products of a feed-forward network, and E4M3, what a product in FP8 takes.

    x / (1 + exp(-2 u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), which is x / 2 (1 + tanh(u))

A program takes a stretch of the numbers as they lie in memory, whatever their rows. For a product in FP8 both happen at
once: 3 bytes of a number move, of bf16 then quantised 7.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from clear_rt.kernels.chips import capability_of, has_fp8, require_fp8
from clear_rt.kernels.contract import FLOATS, Contract
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant, pointers
from clear_rt.models.fp8 import E4M3, to_e4m3

OP = "gelu"
# 2 sqrt(2 / pi), and that times 0.044715.
_LINEAR = tl.constexpr(1.5957691216057308)
_CUBIC = tl.constexpr(0.07135481627260025)


def gelu_ref(x: Tensor, inverse: Tensor | None = None) -> Tensor:
    """The formula, in fp32 at least; the result is rounded once."""
    y = functional.gelu(x.to(torch.promote_types(x.dtype, torch.float32)), approximate="tanh")
    return y.to(x.dtype) if inverse is None else to_e4m3(y * inverse)


def quantized_ref(x: Tensor, inverse: Tensor) -> Tensor:
    """The product in fp32 at least, rounded once."""
    return to_e4m3(x.to(torch.promote_types(x.dtype, torch.float32)) * inverse)


@triton.jit
def gelu_kernel(x_ptr, inverse_ptr, out_ptr, count, BLOCK: tl.constexpr, ACTIVATED: tl.constexpr, TO_FP8: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * BLOCK
    at = start + tl.arange(0, BLOCK)
    inside = at < count
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if ACTIVATED:
        x = x / (1.0 + tl.exp(-x * (_LINEAR + _CUBIC * x * x)))
    if TO_FP8:
        x *= tl.load(inverse_ptr)
    tl.store(out_ptr + at, narrow(x, out_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op("clear_rt::gelu", mutates_args=())
def gelu(x: Tensor, inverse: Tensor | None = None) -> Tensor:
    """x [..., C] of any float, without gaps -> tanh-GELU of it in the dtype of x.

    With `inverse` fp32 [1] the result is multiplied by it and rounded to E4M3, the input of an FP8 linear; beyond 448
    it is 448, NaN stays.

    Raises:
        ValueError: other dtypes, gaps in x.
        EngineError: no GPU, or one that has no FP8 where `inverse` is given.
    """
    _check(Contract(OP), x, inverse)
    out = _gelu_fake(x, inverse)
    _launch(x, inverse, out, activated=True)
    return out


@gelu.register_fake
def _gelu_fake(x: Tensor, inverse: Tensor | None = None) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype if inverse is None else E4M3, device=x.device)


@torch.library.custom_op("clear_rt::gelu_", mutates_args=("x",))
def gelu_(x: Tensor) -> None:
    """As `gelu` without `inverse`, in place: at 20,160 tokens of Wan another 361 MB would be alive. Raises as that."""
    _check(Contract("gelu_"), x, None)
    _launch(x, None, x, activated=True)


@gelu_.register_fake
def _gelu_in_place_fake(x: Tensor) -> None:
    return None


@torch.library.custom_op("clear_rt::quantized", mutates_args=())
def quantized(x: Tensor, inverse: Tensor) -> Tensor:
    """x [..., C] of any float, without gaps, times `inverse` fp32 [1], in E4M3; raises as `gelu`."""
    _check(Contract("quantized"), x, inverse)
    out = _quantized_fake(x, inverse)
    _launch(x, inverse, out, activated=False)
    return out


@quantized.register_fake
def _quantized_fake(x: Tensor, inverse: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=E4M3, device=x.device)


def _check(contract: Contract, x: Tensor, inverse: Tensor | None) -> None:
    axes = [f"axis{i}" for i in range(x.ndim)]
    contract.tensor("x", x, " ".join(axes), FLOATS, dense_axes=x.ndim)
    if inverse is not None:
        contract.tensor("inverse", inverse, "1", (torch.float32,))
        require_fp8(contract.op, x)


def _launch(x: Tensor, inverse: Tensor | None, out: Tensor, *, activated: bool) -> None:
    chosen = tile(OP, capability_of(x))
    if count := x.numel():
        gelu_kernel[(triton.cdiv(count, chosen.blocks["BLOCK"]),)](
            x,
            inverse,
            out,
            count,
            ACTIVATED=activated,
            TO_FP8=inverse is not None,
            **chosen.blocks,
            num_warps=chosen.warps,
            num_stages=chosen.stages,
        )


def variants(capability: int) -> Iterator[Variant]:
    """GELU alone, GELU to E4M3, E4M3 alone, of rows of 16 numbers or a multiple."""
    for dtype in ("bf16", "fp16"):
        for activated, to_fp8 in ((True, False), (True, True), (False, True)):
            if to_fp8 and not has_fp8(capability):
                continue
            given, absent = pointers(
                x_ptr=dtype, inverse_ptr="fp32" if to_fp8 else None, out_ptr="fp8e4nv" if to_fp8 else dtype
            )
            chosen = tile(OP, capability)
            yield Variant(
                name="-".join([OP if activated else "quantized", dtype] + ["fp8"] * (activated and to_fp8)),
                kernel=gelu_kernel,
                arguments=given | {"count": "i32"},
                constants=absent | {**chosen.blocks, "ACTIVATED": activated, "TO_FP8": to_fp8},
                # Without it the last stretch's mask makes every load one of a single number.
                aligned=("count",),
                tile=chosen,
            )
