"""The product of an FP8 linear on a GPU's FP8 units, bias included: `torch._scaled_mm`.

torch has the product of scales per tensor and that of scales per row and column. Weights have a scale per column; that
of the inputs, one number, joins them, which is exact: both hold 8 bits of significand, their product 16. So the rows'
scales are ones, of which all linears share a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clear_rt.kernels.chips import capability_of, has_fp8
from clear_rt.kernels.gelu import quantized
from clear_rt.kernels.kept import Kept, is_lasting
from clear_rt.models.fp8 import E4M3, answer_dtype, fp8_product

# Rows and columns of E4M3 that the FP8 units take start at multiples of 16 bytes; of fewer rows nothing is gained.
_STEP = 16

_ones: dict[tuple[torch.device, int], Tensor] = {}


class ScaledProduct:
    """As `clear_rt.models.fp8.Fp8Product`, one for each linear, whose scales it keeps joined.

    bfloat16 is made in one pass. float16 and float32 take two, since not every GPU scales rows for them. Sums are of
    what the FP8 units add at full speed: on sm_90 they keep some 14 bits of a sum of 32 products. By its definition
    where a GPU has no FP8, sizes are no multiples of 16, rows fewer than 16, or tensors on the CPU.
    """

    def __init__(self) -> None:
        self._inverse = Kept(inverse_of)
        self._scales = Kept(_joined)

    def __call__(
        self, x: Tensor, weight: Tensor, weight_scale: Tensor, input_scale: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        if not _suits(x, weight):
            return fp8_product(x, weight, weight_scale, input_scale, bias)
        dtype = answer_dtype(x, bias)
        if x.dtype != E4M3:
            x = quantized(x.contiguous(), self._inverse.of(input_scale))
        rows, scales = x.reshape(-1, x.shape[-1]), self._scales.of(weight_scale, input_scale)
        bias = None if bias is None else bias.to(dtype)
        if dtype == torch.bfloat16:
            made = torch._scaled_mm(
                rows,
                weight.T,
                scale_a=ones(rows.shape[0], rows.device),
                scale_b=scales,
                bias=bias,
                out_dtype=dtype,
                use_fast_accum=True,
            )
        else:
            one = ones(1, rows.device).reshape(())
            sums = torch._scaled_mm(
                rows, weight.T, scale_a=one, scale_b=one, out_dtype=torch.float32, use_fast_accum=True
            )
            made = (sums * scales if bias is None else torch.addcmul(bias.float(), sums, scales)).to(dtype)
        return made.reshape(*x.shape[:-1], made.shape[-1])


def inverse_of(input_scale: Tensor) -> Tensor:
    """fp32 [] -> 1 / it, fp32 [1]: what kernels that make E4M3 multiply by."""
    return input_scale.reciprocal().reshape(1)


def ones(count: int, device: torch.device) -> Tensor:
    """fp32 [count, 1], made once and never freed: graphs hold its address."""
    found = _ones.get((device, count))
    if found is None:
        found = torch.ones(count, 1, device=device)
        if is_lasting(device):
            _ones[device, count] = found
    return found


def _joined(weight_scale: Tensor, input_scale: Tensor) -> Tensor:
    return (weight_scale * input_scale).reshape(1, -1)


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        x.is_cuda
        and has_fp8(capability_of(x))
        and x.numel() >= _STEP * x.shape[-1]
        and x.dtype in (E4M3, torch.bfloat16, torch.float16, torch.float32)
        and not any(size % _STEP for size in weight.shape)
        and weight.is_contiguous()
    )
