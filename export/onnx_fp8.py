"""FP8 linears as ONNX writes them: QuantizeLinear and DequantizeLinear around an ordinary matrix product.

ONNX Runtime computes what stands there; TensorRT and TensorRT-RTX make one FP8 product of it. bf16 data and scales are
allowed from opset 19 on, as E4M3 is; ONNX Runtime's CPU runs fp32 only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.models.fp8 import E4M3, Fp8Linear


def onnx_fp8_product(x: Tensor, weight: Tensor, weight_scale: Tensor, input_scale: Tensor) -> Tensor:
    """As `clear_rt.models.fp8.fp8_product`, as ONNX nodes; it can be exported, not run. x is fp32 or bf16."""
    weight_scale, input_scale = weight_scale.to(x.dtype), input_scale.to(x.dtype)
    # Its type is what tells QuantizeLinear to make E4M3.
    zero = torch.zeros((), dtype=E4M3, device=x.device)
    values = torch.onnx.ops.symbolic("QuantizeLinear", (x, input_scale, zero), dtype=E4M3, shape=x.shape)
    return functional.linear(_dequantised(values, input_scale), _dequantised(weight, weight_scale))


def _dequantised(values: Tensor, scale: Tensor) -> Tensor:
    """E4M3 with one scale, or one for each row."""
    return torch.onnx.ops.symbolic(
        "DequantizeLinear", (values, scale), {"axis": 0} if scale.ndim else {}, dtype=scale.dtype, shape=values.shape
    )


@contextmanager
def writing_fp8(model: nn.Module) -> Iterator[None]:
    """Every FP8 linear of the model as ONNX nodes, for as long as it is traced."""
    linears = [module for module in model.modules() if isinstance(module, Fp8Linear)]
    before = [linear.product for linear in linears]
    try:
        for linear in linears:
            linear.product = onnx_fp8_product
        yield
    finally:
        for linear, product in zip(linears, before, strict=True):
            linear.product = product
