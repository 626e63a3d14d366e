"""Linears in FP8: E4M3 weights with a scale per output channel, E4M3 inputs with one scale; value = E4M3 x scale.

E4M3 has 4 bits of exponent and 3 of significand, up to +-448. Scales are numbers that bfloat16 holds: ONNX wants scales
in the type of the data, which is fp32 for ONNX Runtime and bf16 for TensorRT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

E4M3 = torch.float8_e4m3fn
E4M3_MAX = 448.0
# Below it lie subnormal scales, which hardware may take for 0.
_LEAST_SCALE = 2.0**-126


class Fp8Product(Protocol):
    """x [..., in], weight E4M3 [out, in], weight_scale fp32 [out], input_scale fp32 [] -> [..., out] in x's dtype."""

    def __call__(self, x: Tensor, weight: Tensor, weight_scale: Tensor, input_scale: Tensor) -> Tensor: ...


def fp8_product(x: Tensor, weight: Tensor, weight_scale: Tensor, input_scale: Tensor) -> Tensor:
    """As `Fp8Product`, by its definition: both dequantised to the dtype of x, then multiplied."""
    values = to_e4m3(x.float() / input_scale)
    return functional.linear(
        (values.float() * input_scale).to(x.dtype), (weight.float() * weight_scale[:, None]).to(x.dtype)
    )


def to_e4m3(x: Tensor) -> Tensor:
    """`x` in E4M3, to nearest even; beyond the largest value it is that value, NaN stays."""
    return x.clamp(-E4M3_MAX, E4M3_MAX).to(E4M3)


def scale_of(amax: Tensor) -> Tensor:
    """The scale fp32 that puts `amax`, finite and not negative, on 448 or just below; 1 where nothing but zeros was.

    amax / 448 rounded up to bfloat16: at most 2**-7 more, so that nothing saturates that made the amax.
    """
    exact = (amax.float() / E4M3_MAX).clamp(min=_LEAST_SCALE)
    bits = (exact.view(torch.int32) + 0xFFFF) & ~0xFFFF
    return torch.where(amax == 0, 1.0, bits.view(torch.float32))


class Fp8Linear(nn.Module):
    """As nn.Linear with weights and inputs in E4M3; made empty, to be loaded, or `of` a linear.

    Moving it and changing its dtype leave the dtypes of weights and scales as they are.
    """

    weight: Tensor
    weight_scale: Tensor
    input_scale: Tensor

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=E4M3))
        self.register_buffer("weight_scale", torch.ones(outputs))
        self.register_buffer("input_scale", torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False) if bias else None
        self.product: Fp8Product = fp8_product

    @classmethod
    def of(cls, linear: nn.Linear, input_scale: Tensor) -> Self:
        """`linear` in FP8 for inputs up to 448 x `input_scale` fp32 []; shares its bias. Its weights must be finite."""
        weight = linear.weight.detach().float()
        scale = scale_of(weight.abs().amax(1))
        with torch.device("meta"):
            made = cls(linear.in_features, linear.out_features, linear.bias is not None)
        state = {
            "weight": to_e4m3(weight / scale[:, None]),
            "weight_scale": scale,
            "input_scale": input_scale.to(scale),
        }
        if linear.bias is not None:
            state["bias"] = linear.bias.detach()
        made.load_state_dict(state, assign=True)
        return made.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out] in the dtype of x."""
        made = self.product(x, self.weight, self.weight_scale, self.input_scale)
        return made if self.bias is None else made + self.bias

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What every way to move or convert a module ends in."""

        def keeping(tensor: Tensor) -> Tensor:
            return fn(tensor) if isinstance(tensor, nn.Parameter) else _as_integers(fn, tensor)

        through: Any = super()._apply
        return through(keeping, recurse)


def _as_integers(fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """`fn` of the bits of a tensor, which `Module.to(dtype)` does not convert."""
    bits = torch.uint8 if tensor.dtype == E4M3 else torch.int32
    return fn(tensor.view(bits)).view(tensor.dtype)


def replace_linears(model: nn.Module, linears: Mapping[str, nn.Module]) -> None:
    """Puts modules in the place of those of these names, in place."""
    for name, linear in linears.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, linear)


def empty_fp8(model: nn.Module, names: Iterable[str]) -> None:
    """Makes the linears of these names FP8 without values, on their devices: what loading weights starts from."""
    empty = {}
    for name in names:
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        with torch.device(linear.weight.device):
            empty[name] = Fp8Linear(linear.in_features, linear.out_features, linear.bias is not None)
    replace_linears(model, empty)


def fp8_names(state: Iterable[str]) -> list[str]:
    """Which linears are in FP8, by the names of a state dict."""
    return [name.removesuffix(".weight_scale") for name in state if name.endswith(".weight_scale")]
