"""Cases of `bench_kernels`: what stands between the products of a block, bound by memory, at two windows' tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.kernel_cases import (
    BOX,
    E4M3_TOLERANCE,
    FULL,
    TINY,
    TINY_GRID,
    WAN,
    Grid,
    KernelCase,
    Rival,
    Size,
    torch_rivals,
)
from clear_rt.kernels.chips import INTERPRETED, capability_of, has_fp8
from clear_rt.kernels.fp8_blocks import dequantized
from clear_rt.kernels.gate_residual import (
    gate_residual,
    gate_residual_norm,
    gate_residual_norm_ref,
    gate_residual_ref,
)
from clear_rt.kernels.gelu import gelu, gelu_ref, quantized, quantized_ref
from clear_rt.kernels.norm_modulate import norm_modulate, norm_modulate_ref
from clear_rt.kernels.qk_norm_rope import norm_rope_ref, qk_norm_rope, qk_norm_rope_ref, turns_at, turns_table
from clear_rt.kernels.qk_norm_rope_fp8 import key_center, qk_norm_rope_fp8, qk_norm_rope_fp8_ref
from clear_rt.kernels.quantize_values import quantize_values, quantize_values_ref
from clear_rt.kernels.rms_norm import rms_norm, rms_norm_ref

GRIDS = (BOX, FULL)
EPS = 1e-6
# Brings normal numbers to a deviation of 50: E4M3 ends at 448.
INVERSE = 50.0
# Of a feed-forward network between its linears; the other is no multiple of any block.
WAN_HIDDEN, TINY_HIDDEN = 8960, 200


def token_cases(device: torch.device, *, tiny: bool) -> Iterator[KernelCase]:
    """Every op at every size; in E4M3 where the chip has it."""
    with_fp8 = INTERPRETED or has_fp8(capability_of(torch.empty(0, device=device)))
    size = TINY if tiny else WAN
    for grid in (TINY_GRID,) if tiny else GRIDS:
        for to_fp8 in (False, True) if with_fp8 else (False,):
            yield _modulate_case(device, size, grid.tokens, to_fp8)
            yield _residual_norm_case(device, size, grid.tokens, to_fp8)
            yield _gelu_case(device, TINY_HIDDEN if tiny else WAN_HIDDEN, grid.tokens, to_fp8)
        yield _residual_case(device, size, grid.tokens)
        yield _rms_norm_case(device, size, grid.tokens)
        yield _rope_case(device, size, grid)
        if with_fp8:
            yield _quantized_case(device, size, grid.tokens)
            yield _rope_fp8_case(device, size, grid)
            yield _values_case(device, size, grid.tokens)


def _modulate_case(device: torch.device, size: Size, tokens: int, to_fp8: bool) -> KernelCase:
    def inputs() -> Sequence[Any]:
        shift, scale, inverse = _vectors(device, size, to_fp8)
        return _tokens(device, size, tokens), shift, scale, EPS, inverse

    return KernelCase(
        op="norm_modulate",
        shape=_shape(tokens, to_fp8),
        modules=("norm_modulate",),
        inputs=inputs,
        call=norm_modulate,
        exact=_modulate_exact,
        bytes=tokens * size.width * (2 + (1 if to_fp8 else 2)),
        rivals=torch_rivals(norm_modulate_ref),
        **_tolerance(to_fp8),
    )


def _residual_case(device: torch.device, size: Size, tokens: int) -> KernelCase:
    def inputs() -> Sequence[Any]:
        gate, _, _ = _vectors(device, size, False)
        return _tokens(device, size, tokens), _tokens(device, size, tokens), gate

    return KernelCase(
        op="gate_residual",
        shape=_shape(tokens, False),
        modules=("gate_residual",),
        inputs=inputs,
        call=gate_residual,
        exact=lambda x, y, gate: gate_residual_ref(x.double(), y.double(), gate.double()),
        bytes=tokens * size.width * (2 + 2 + 2),
        rivals=torch_rivals(gate_residual_ref),
    )


def _residual_norm_case(device: torch.device, size: Size, tokens: int, to_fp8: bool) -> KernelCase:
    def inputs() -> Sequence[Any]:
        gate, _, _ = _vectors(device, size, False)
        shift, scale, inverse = _vectors(device, size, to_fp8)
        return _tokens(device, size, tokens), _tokens(device, size, tokens), gate, shift, scale, EPS, inverse

    def exact(x: Tensor, y: Tensor, gate: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        total = gate_residual_ref(x.double(), y.double(), gate.double())
        return total, _modulate_exact(total.to(x.dtype), *rest)

    return KernelCase(
        op="gate_residual_norm",
        shape=_shape(tokens, to_fp8),
        modules=("gate_residual",),
        inputs=inputs,
        call=gate_residual_norm,
        exact=exact,
        bytes=tokens * size.width * (2 + 2 + 2 + (1 if to_fp8 else 2)),
        rivals=torch_rivals(gate_residual_norm_ref),
        **_tolerance(to_fp8),
    )


def _gelu_case(device: torch.device, hidden: int, tokens: int, to_fp8: bool) -> KernelCase:
    def inputs() -> Sequence[Any]:
        x = torch.randn(1, tokens, hidden, device=device, dtype=torch.bfloat16)
        return x, torch.full((1,), INVERSE, device=device) if to_fp8 else None

    def exact(x: Tensor, inverse: Tensor | None) -> Tensor:
        made = functional.gelu(x.double(), approximate="tanh")
        return made if inverse is None else (made * inverse).clamp(-448, 448)

    own = Rival(name="torch's own", call=lambda x, _: functional.gelu(x, approximate="tanh"))
    return KernelCase(
        op="gelu",
        shape=_shape(tokens, to_fp8),
        modules=("gelu",),
        inputs=inputs,
        call=gelu,
        exact=exact,
        bytes=tokens * hidden * (2 + (1 if to_fp8 else 2)),
        rivals=torch_rivals(gelu_ref) if to_fp8 else (own, *torch_rivals(gelu_ref)),
        **_tolerance(to_fp8),
    )


def _quantized_case(device: torch.device, size: Size, tokens: int) -> KernelCase:
    return KernelCase(
        op="quantized",
        shape=_shape(tokens, True),
        modules=("gelu",),
        inputs=lambda: (_tokens(device, size, tokens), torch.full((1,), INVERSE, device=device)),
        call=quantized,
        exact=lambda x, inverse: (x.double() * inverse).clamp(-448, 448),
        bytes=tokens * size.width * (2 + 1),
        rivals=torch_rivals(quantized_ref),
        tolerance=E4M3_TOLERANCE,
    )


def _rms_norm_case(device: torch.device, size: Size, tokens: int) -> KernelCase:
    def inputs() -> Sequence[Any]:
        return _tokens(device, size, tokens), torch.randn(size.width, device=device, dtype=torch.bfloat16), EPS

    return KernelCase(
        op="rms_norm",
        shape=_shape(tokens, False),
        modules=("rms_norm",),
        inputs=inputs,
        call=rms_norm,
        exact=lambda x, weight, eps: rms_norm_ref(x.double(), weight.double(), eps),
        bytes=tokens * size.width * (2 + 2),
        rivals=torch_rivals(rms_norm_ref),
    )


def _rope_case(device: torch.device, size: Size, grid: Grid) -> KernelCase:
    return KernelCase(
        op="qk_norm_rope",
        shape=_shape(grid.tokens, False),
        modules=("qk_norm_rope",),
        inputs=partial(_rope_inputs, device, size, grid),
        call=qk_norm_rope,
        exact=_rope_exact,
        bytes=2 * grid.tokens * size.width * (2 + 2),
        rivals=torch_rivals(qk_norm_rope_ref),
    )


def _rope_fp8_case(device: torch.device, size: Size, grid: Grid) -> KernelCase:
    def inputs() -> Sequence[Any]:
        given = _rope_inputs(device, size, grid)
        _, k, _, weight_k, *rest = given
        return *given, key_center(k, weight_k, *rest)

    def exact(*given: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        queries, keys = _rope_exact(*given[:-1])
        return queries, keys - given[-1][:, None]

    def comparable(found: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        q8, q_scale, k8, k_scale = found
        return dequantized(q8, q_scale), dequantized(k8, k_scale)

    return KernelCase(
        op="qk_norm_rope_fp8",
        shape=_shape(grid.tokens, True),
        modules=("qk_norm_rope_fp8",),
        inputs=inputs,
        call=qk_norm_rope_fp8,
        exact=exact,
        comparable=comparable,
        tolerance=E4M3_TOLERANCE,
        bytes=2 * grid.tokens * size.width * (2 + 1),
        rivals=torch_rivals(qk_norm_rope_fp8_ref),
    )


def _values_case(device: torch.device, size: Size, tokens: int) -> KernelCase:
    def comparable(found: Sequence[Tensor]) -> Tensor:
        v8, scale = found
        return dequantized(v8.permute(0, 3, 1, 2), scale)[:, :tokens]

    return KernelCase(
        op="quantize_values",
        shape=_shape(tokens, True),
        modules=("quantize_values",),
        inputs=lambda: (_tokens(device, size, tokens).view(1, tokens, size.heads, size.head_width),),
        call=quantize_values,
        exact=lambda v: v.double(),
        comparable=comparable,
        tolerance=E4M3_TOLERANCE,
        bytes=tokens * size.width * (2 + 1),
        rivals=torch_rivals(quantize_values_ref),
    )


def _tokens(device: torch.device, size: Size, tokens: int) -> Tensor:
    return torch.randn(1, tokens, size.width, device=device, dtype=torch.bfloat16)


def _vectors(device: torch.device, size: Size, to_fp8: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Two vectors of the width in fp32 and, for E4M3, the factor of its values."""
    first, second = torch.randn(2, size.width, device=device).unbind()
    return first, second, torch.full((1,), INVERSE, device=device) if to_fp8 else None


def _modulate_exact(x: Tensor, shift: Tensor, scale: Tensor, eps: float, inverse: Tensor | None) -> Tensor:
    exact = norm_modulate_ref(x.double(), shift.double(), scale.double(), eps)
    return exact if inverse is None else (exact * inverse).clamp(-448, 448)


def _rope_inputs(device: torch.device, size: Size, grid: Grid) -> Sequence[Any]:
    q, k = (_tokens(device, size, grid.tokens) for _ in range(2))
    weight_q, weight_k, _ = _vectors(device, size, False)
    turns = turns_table(size.head_width).to(device)
    return q, k, weight_q, weight_k, turns, grid.rows, grid.columns, EPS


def _rope_exact(
    q: Tensor, k: Tensor, weight_q: Tensor, weight_k: Tensor, turns: Tensor, rows: int, columns: int, eps: float
) -> tuple[Tensor, Tensor]:
    turn = turns_at(turns.double(), torch.arange(q.shape[1], device=q.device), rows, columns)
    return (
        norm_rope_ref(q.double(), weight_q.double(), turn, eps),
        norm_rope_ref(k.double(), weight_k.double(), turn, eps),
    )


def _shape(tokens: int, to_fp8: bool) -> str:
    return f"{tokens} fp8" if to_fp8 else f"{tokens}"


def _tolerance(to_fp8: bool) -> dict[str, Any]:
    return {"tolerance": E4M3_TOLERANCE} if to_fp8 else {}
