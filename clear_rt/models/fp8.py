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
    """x [..., in], weight E4M3 [out, in], weight_scale fp32 [out], input_scale fp32 [], bias [out] -> [..., out].

    The answer has the dtype of x. x may be in E4M3 already, divided by `input_scale`: then it has that of the bias.
    """

    def __call__(
        self, x: Tensor, weight: Tensor, weight_scale: Tensor, input_scale: Tensor, bias: Tensor | None = None
    ) -> Tensor: ...


def fp8_product(
    x: Tensor, weight: Tensor, weight_scale: Tensor, input_scale: Tensor, bias: Tensor | None = None
) -> Tensor:
    """As `Fp8Product`, by its definition: both dequantised to the dtype of the answer, then multiplied."""
    dtype = answer_dtype(x, bias)
    held = (x.float() * input_scale).to(dtype) if x.dtype == E4M3 else fp8_rounded(x, input_scale)
    made = functional.linear(held, (weight.float() * weight_scale[:, None]).to(dtype))
    return made if bias is None else made + bias


def answer_dtype(x: Tensor, bias: Tensor | None) -> torch.dtype:
    """What an `Fp8Product` of them has. Raises ValueError where neither says."""
    if x.dtype != E4M3:
        return x.dtype
    if bias is None:
        raise ValueError("expected an FP8 linear with a bias, which gives the answer of inputs in E4M3 its dtype")
    return bias.dtype


class Fp8Rounding(Protocol):
    """x of any shape, scale fp32 [] -> x as E4M3 holds it, in its dtype."""

    def __call__(self, x: Tensor, scale: Tensor) -> Tensor: ...


def fp8_rounded(x: Tensor, scale: Tensor) -> Tensor:
    """As `Fp8Rounding`, by its definition."""
    return (to_e4m3(x.float() / scale).float() * scale).to(x.dtype)


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


class _KeepsTypes(nn.Module):
    """Moving it and changing its dtype leave the dtypes of its buffers, E4M3 and float32, as they are."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What every way to move or convert a module ends in."""

        def keeping(tensor: Tensor) -> Tensor:
            return fn(tensor) if isinstance(tensor, nn.Parameter) else _as_integers(fn, tensor)

        through: Any = super()._apply
        return through(keeping, recurse)


class Fp8Linear(_KeepsTypes):
    """As nn.Linear with weights and inputs in E4M3; made empty, to be loaded, or `of` a linear."""

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
        """x [..., in] of a float, or in E4M3 and divided by `input_scale` -> [..., out] as `Fp8Product` has it."""
        return self.product(x, self.weight, self.weight_scale, self.input_scale, self.bias)


class Fp8Rounded(_KeepsTypes):
    """Rounds what passes through it to E4M3, in its dtype; for queries, keys and values of attention in FP8."""

    scale: Tensor

    def __init__(self, scale: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()) if scale is None else scale)
        self.rounding: Fp8Rounding = fp8_rounded

    def forward(self, x: Tensor) -> Tensor:
        """x in E4M3 and back, at most 448 x `scale`."""
        return self.rounding(x, self.scale)


def _as_integers(fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """`fn` of the bits of a tensor, which `Module.to(dtype)` does not convert."""
    bits = torch.uint8 if tensor.dtype == E4M3 else torch.int32
    return fn(tensor.view(bits)).view(tensor.dtype)


def replace_modules(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Puts modules in the place of those of these names, in place."""
    for name, module in modules.items():
        parent, _, own = name.rpartition(".")
        owner = model.get_submodule(parent)
        if isinstance(owner, nn.ModuleList):
            owner[int(own)] = module
        else:
            setattr(owner, own, module)


def empty_fp8(model: nn.Module, names: Iterable[str]) -> None:
    """Makes the modules of these names FP8 without values, on their devices: what loading weights starts from."""
    empty: dict[str, nn.Module] = {}
    for name in names:
        module = model.get_submodule(name)
        if isinstance(module, nn.Linear):
            with torch.device(module.weight.device):
                empty[name] = Fp8Linear(module.in_features, module.out_features, module.bias is not None)
        else:
            empty[name] = Fp8Rounded()
    replace_modules(model, empty)


def fp8_names(state: Iterable[str]) -> list[str]:
    """Which modules are in FP8, by the names of a state dict."""
    endings = (".weight_scale", ".scale")
    return [name.rpartition(".")[0] for name in state if name.endswith(endings)]
