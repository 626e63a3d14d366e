"""x + gate * y, what ends every branch of a block, and with it the norm that begins the next branch.

Together they read x and y once and write the sum and its norm: 4 passes over memory, apart they take 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.chips import capability_of, has_fp8
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.norm_modulate import check_modulation, norm_modulate_ref, normalised
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import WIDTH, Variant, pointers
from clear_rt.models.fp8 import E4M3

OP = "gate_residual"


def gate_residual_ref(x: Tensor, y: Tensor, gate: Tensor | None) -> Tensor:
    """The formula, in fp32 at least; the sum is rounded once."""
    wide = torch.promote_types(x.dtype, torch.float32)
    branch = y.to(wide) if gate is None else y.to(wide) * gate
    return (x.to(wide) + branch).to(x.dtype)


def gate_residual_norm_ref(
    x: Tensor,
    y: Tensor,
    gate: Tensor | None,
    shift: Tensor,
    scale: Tensor,
    eps: float,
    inverse: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The sum, and `norm_modulate_ref` of the sum as it is stored."""
    total = gate_residual_ref(x, y, gate)
    return total, norm_modulate_ref(total, shift, scale, eps, inverse)


@triton.jit(do_not_specialize=["tokens"])
def gate_residual_kernel(
    x_ptr,
    y_ptr,
    gate_ptr,
    shift_ptr,
    scale_ptr,
    inverse_ptr,
    sum_ptr,
    norm_ptr,
    x_batch_stride,
    x_token_stride,
    y_batch_stride,
    y_token_stride,
    tokens,
    eps,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    WITH_NORM: tl.constexpr,
    TO_FP8: tl.constexpr,
):
    token, batch = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    x = tl.load(x_ptr + batch * x_batch_stride + token * x_token_stride + columns, mask=inside, other=0.0)
    y = tl.load(y_ptr + batch * y_batch_stride + token * y_token_stride + columns, mask=inside, other=0.0)
    branch = y.to(tl.float32)
    if gate_ptr is not None:
        branch *= tl.load(gate_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    total = narrow(x.to(tl.float32) + branch, sum_ptr.dtype.element_ty)
    place = (batch * tokens + token) * WIDTH + columns
    tl.store(sum_ptr + place, total, mask=inside)
    if WITH_NORM:
        scale = tl.load(scale_ptr + columns, mask=inside, other=0.0).to(tl.float32)
        shift = tl.load(shift_ptr + columns, mask=inside, other=0.0).to(tl.float32)
        normed = normalised(total.to(tl.float32), inside, WIDTH, eps) * (1.0 + scale) + shift
        if TO_FP8:
            normed *= tl.load(inverse_ptr)
        tl.store(norm_ptr + place, narrow(normed, norm_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op("clear_rt::gate_residual", mutates_args=())
def gate_residual(x: Tensor, y: Tensor, gate: Tensor | None) -> Tensor:
    """x and y [B, N, C] of any float, gate [C] or None for 1 -> x + gate * y, [B, N, C] in the dtype of x.

    Raises ValueError for other shapes or dtypes, or gaps within a token, EngineError where there is no GPU.
    """
    _check(Contract(OP), x, y, gate)
    total = _gate_residual_fake(x, y, gate)
    _launch(x, y, gate, None, None, None, 0.0, total, None)
    return total


@gate_residual.register_fake
def _gate_residual_fake(x: Tensor, y: Tensor, gate: Tensor | None) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@torch.library.custom_op("clear_rt::gate_residual_norm", mutates_args=())
def gate_residual_norm(
    x: Tensor,
    y: Tensor,
    gate: Tensor | None,
    shift: Tensor,
    scale: Tensor,
    eps: float,
    inverse: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The sum as `gate_residual`, and of the sum what `norm_modulate` makes of it, in E4M3 with `inverse`.

    Raises as both of them.
    """
    contract = Contract("gate_residual_norm")
    _check(contract, x, y, gate)
    check_modulation(contract, x, shift, scale, inverse)
    total, normed = _gate_residual_norm_fake(x, y, gate, shift, scale, eps, inverse)
    _launch(x, y, gate, shift, scale, inverse, eps, total, normed)
    return total, normed


@gate_residual_norm.register_fake
def _gate_residual_norm_fake(
    x: Tensor,
    y: Tensor,
    gate: Tensor | None,
    shift: Tensor,
    scale: Tensor,
    eps: float,
    inverse: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    total = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    return total, torch.empty_like(total, dtype=x.dtype if inverse is None else E4M3)


def _check(contract: Contract, x: Tensor, y: Tensor, gate: Tensor | None) -> None:
    contract.tensor("x", x, "B N C")
    contract.tensor("y", y, "B N C")
    if gate is not None:
        contract.tensor("gate", gate, "C")


def _launch(
    x: Tensor,
    y: Tensor,
    gate: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    inverse: Tensor | None,
    eps: float,
    total: Tensor,
    normed: Tensor | None,
) -> None:
    if not total.numel():
        return
    batches, tokens, width = x.shape
    chosen = tile(OP, capability_of(x))
    gate_residual_kernel[tokens, batches](
        x,
        y,
        gate,
        shift,
        scale,
        inverse,
        total,
        normed,
        x.stride(0),
        x.stride(1),
        y.stride(0),
        y.stride(1),
        tokens,
        eps,
        WIDTH=width,
        BLOCK=triton.next_power_of_2(width),
        WITH_NORM=normed is not None,
        TO_FP8=inverse is not None,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )


def variants(capability: int) -> Iterator[Variant]:
    """Of Wan's width: gated or not, alone, with the norm, with the norm in E4M3."""
    for dtype, gated, norm in product(("bf16", "fp16"), (True, False), ("", "norm", "fp8")):
        if norm == "fp8" and not has_fp8(capability):
            continue
        yield _variant(capability, dtype, gated, bool(norm), norm == "fp8")


def _variant(capability: int, dtype: str, gated: bool, with_norm: bool, to_fp8: bool) -> Variant:
    given, absent = pointers(
        x_ptr=dtype,
        y_ptr=dtype,
        gate_ptr="fp32" if gated else None,
        shift_ptr="fp32" if with_norm else None,
        scale_ptr="fp32" if with_norm else None,
        inverse_ptr="fp32" if to_fp8 else None,
        sum_ptr=dtype,
        norm_ptr=("fp8e4nv" if to_fp8 else dtype) if with_norm else None,
    )
    strides = {
        f"{name}_stride": "i64" if name.endswith("batch") else "i32"
        for name in ("x_batch", "x_token", "y_batch", "y_token")
    }
    parts = [OP, dtype] + ["gated"] * gated + ["norm"] * with_norm + ["fp8"] * to_fp8
    return Variant(
        name="-".join(parts),
        kernel=gate_residual_kernel,
        arguments=given | strides | {"tokens": "i32", "eps": "fp32"},
        constants=absent
        | {"WIDTH": WIDTH, "BLOCK": triton.next_power_of_2(WIDTH), "WITH_NORM": with_norm, "TO_FP8": to_fp8},
        aligned=tuple(strides),
        tile=tile(OP, capability),
    )
