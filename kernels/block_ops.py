"""What the `cuda` engine puts into the transformer: the definitions in `clear_rt.models`, by our kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from clear_rt.kernels.chips import capability_of, has_fp8
from clear_rt.kernels.gate_residual import gate_residual, gate_residual_norm
from clear_rt.kernels.gelu import gelu, gelu_
from clear_rt.kernels.kept import Kept
from clear_rt.kernels.norm_modulate import norm_modulate
from clear_rt.kernels.occlusion_attention import occlusion_attention
from clear_rt.kernels.qk_norm_rope import qk_norm_rope
from clear_rt.kernels.rms_norm import rms_norm
from clear_rt.kernels.scaled_product import ScaledProduct, inverse_of
from clear_rt.models import attention as by_torch
from clear_rt.models.baked import BakedDit
from clear_rt.models.block_ops import Grid, Tables, split_heads
from clear_rt.models.dit_blocks import WidthNorm
from clear_rt.models.fp8 import Fp8Linear

# Past as many keys fused attention in float16 may overflow: its largest number is 65,504.
_MOST_FP16_KEYS = 65_504
# cuDNN's takes 4.4 ms for 20,160 tokens of Wan on an H100, FlashAttention 7.0, ours 5.5; others for what it refuses.
_SDPA = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class Places(NamedTuple):
    """The rotary table of all axes side by side, fp32 [2, P, D / 2], and the rows and columns of a frame's tokens."""

    turns: Tensor
    rows: int
    columns: int


class TritonOps:
    """As `BlockOps`; the results are rounded once, where torch rounds after every operation.

    What goes into a linear in FP8 is handed over in E4M3. One for each transformer: it keeps what it works out of the
    weights.
    """

    def __init__(self) -> None:
        self._turns = Kept(_joined)
        self._of_module: WeakKeyDictionary[nn.Module, Kept[Tensor]] = WeakKeyDictionary()

    def places(self, tables: Tables, grid: Grid) -> Places:
        _, rows, columns = grid
        return Places(self._turns.of(*tables), rows, columns)

    def queries_keys(
        self, q: Tensor, k: Tensor, norm_q: WidthNorm, norm_k: WidthNorm, heads: int, places: Places
    ) -> tuple[Tensor, Tensor]:
        return qk_norm_rope(q, k, norm_q.weight, norm_k.weight, *places, norm_q.eps)

    def queries(self, q: Tensor, norm: WidthNorm, heads: int) -> Tensor:
        return split_heads(rms_norm(q, norm.weight, norm.eps), heads)

    def modulated(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float, into: nn.Module) -> Tensor:
        return norm_modulate(x, shift, scale, eps, self._inverse(into, x))

    def feed_forward(self, x: Tensor, network: nn.Sequential) -> Tensor:
        first, _, last = network
        hidden = first(x)
        inverse = self._inverse(last, hidden)
        if inverse is None:
            gelu_(hidden)
        else:
            hidden = gelu(hidden, inverse)
        made: Tensor = last(hidden)
        return made

    def residual(self, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
        return gate_residual(x, y, gate)

    def residual_normed(
        self, x: Tensor, y: Tensor, gate: Tensor, norm: nn.LayerNorm, into: nn.Module
    ) -> tuple[Tensor, Tensor]:
        scale = self._kept(norm, _less_one, norm.weight)
        total, normed = gate_residual_norm(x, y, gate, norm.bias, scale, norm.eps, self._inverse(into, x))
        return total, normed

    def residual_modulated(
        self, x: Tensor, y: Tensor, shift: Tensor, scale: Tensor, eps: float, into: nn.Module
    ) -> tuple[Tensor, Tensor]:
        total, normed = gate_residual_norm(x, y, None, shift, scale, eps, self._inverse(into, x))
        return total, normed

    def _inverse(self, into: nn.Module, x: Tensor) -> Tensor | None:
        """What brings x to the E4M3 that `into` takes, if it takes that and answers in the dtype of x."""
        if not isinstance(into, Fp8Linear) or into.bias is None or into.bias.dtype != x.dtype:
            return None
        if x.is_cuda and not has_fp8(capability_of(x)):
            return None
        return self._kept(into, inverse_of, into.input_scale)

    def _kept(self, module: nn.Module, make: Callable[[Tensor], Tensor], source: Tensor) -> Tensor:
        """The one thing that is made of a module's weights."""
        if module not in self._of_module:
            self._of_module[module] = Kept(make)
        return self._of_module[module].of(source)


def use_kernels(dit: BakedDit) -> None:
    """Puts our kernels, and the products that feed on them, in the place of torch's operations.

    Call it after loading: replaced linears come without. Raises EngineError where the weights are on no GPU, unless
    kernels run in Triton's interpreter.
    """
    capability_of(dit.time)
    dit.attend, dit.ops = attention, TritonOps()
    for module in dit.modules():
        if isinstance(module, Fp8Linear):
            module.product = ScaledProduct()


def attention(q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
    """As `clear_rt.models.attention.Attention`: plain attention on a GPU by torch, with a bias by our kernel."""
    if key_bias is None and q.is_cuda and (q.dtype != torch.float16 or k.shape[1] <= _MOST_FP16_KEYS):
        with sdpa_kernel(_SDPA, set_priority=True):
            return by_torch.attention(q, k, v, None)
    out, _ = occlusion_attention(q, k, v, None if key_bias is None else key_bias.float())
    return out


def _joined(*tables: Tensor) -> Tensor:
    return torch.cat(tables, -1).float()


def _less_one(weight: Tensor) -> Tensor:
    return weight - 1
