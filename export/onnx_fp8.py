"""FP8 linears as ONNX writes them: QuantizeLinear and DequantizeLinear around an ordinary matrix product.

ONNX Runtime computes what stands there; TensorRT and TensorRT-RTX make one FP8 product of it. bf16 data and scales are
allowed from opset 19 on, as E4M3 is; ONNX Runtime's CPU runs fp32 only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.models.fp8 import E4M3, Fp8Linear, Fp8Product, Fp8Rounded, Fp8Rounding


def onnx_fp8_product(
    x: Tensor, weight: Tensor, weight_scale: Tensor, input_scale: Tensor, bias: Tensor | None = None
) -> Tensor:
    """As `clear_rt.models.fp8.fp8_product`, as ONNX nodes; it can be exported, not run. x is fp32 or bf16."""
    made = functional.linear(onnx_fp8_rounded(x, input_scale), _dequantised(weight, weight_scale.to(x.dtype)))
    return made if bias is None else made + bias


def onnx_fp8_rounded(x: Tensor, scale: Tensor) -> Tensor:
    """As `clear_rt.models.fp8.fp8_rounded`, as two ONNX nodes."""
    scale = scale.to(x.dtype)
    # Its type is what tells QuantizeLinear to make E4M3.
    zero = torch.zeros((), dtype=E4M3, device=x.device)
    values = torch.onnx.ops.symbolic("QuantizeLinear", (x, scale, zero), dtype=E4M3, shape=x.shape)
    return _dequantised(values, scale)


def _dequantised(values: Tensor, scale: Tensor) -> Tensor:
    """E4M3 with one scale, or one for each row."""
    return torch.onnx.ops.symbolic(
        "DequantizeLinear", (values, scale), {"axis": 0} if scale.ndim else {}, dtype=scale.dtype, shape=values.shape
    )


@contextmanager
def writing_fp8(model: nn.Module) -> Iterator[None]:
    """Everything of the model that is in FP8 as ONNX nodes, for as long as it is traced."""
    linears = [module for module in model.modules() if isinstance(module, Fp8Linear)]
    rounded = [module for module in model.modules() if isinstance(module, Fp8Rounded)]
    before = [linear.product for linear in linears], [module.rounding for module in rounded]
    try:
        _write(linears, rounded, [onnx_fp8_product] * len(linears), [onnx_fp8_rounded] * len(rounded))
        yield
    finally:
        _write(linears, rounded, *before)


def _write(
    linears: Sequence[Fp8Linear],
    rounded: Sequence[Fp8Rounded],
    products: Sequence[Fp8Product],
    roundings: Sequence[Fp8Rounding],
) -> None:
    for linear, product in zip(linears, products, strict=True):
        linear.product = product
    for module, rounding in zip(rounded, roundings, strict=True):
        module.rounding = rounding
