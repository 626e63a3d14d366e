"""What `--kernels triton` puts into transformer and VAE: the definitions in `clear_rt.models`, by our kernels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from clear_rt.kernels.gate_residual import gate_residual, gate_residual_norm
from clear_rt.kernels.norm_modulate import norm_modulate
from clear_rt.kernels.norm_silu import norm_silu
from clear_rt.kernels.occlusion_attention import occlusion_attention
from clear_rt.kernels.qk_norm_rope import qk_norm_rope
from clear_rt.models.block_ops import Grid, Tables
from clear_rt.models.dit_blocks import WidthNorm
from clear_rt.models.vae_blocks import PAST_FRAMES


class Places(NamedTuple):
    """The rotary table of all axes side by side, fp32 [2, P, D / 2], and the rows and columns of a frame's tokens."""

    turns: Tensor
    rows: int
    columns: int


class TritonOps:
    """As `BlockOps`; the results are rounded once, where torch rounds after every operation."""

    def places(self, tables: Tables, grid: Grid) -> Places:
        _, rows, columns = grid
        return Places(torch.cat(tables, -1).float(), rows, columns)

    def queries_keys(
        self, q: Tensor, k: Tensor, norm_q: WidthNorm, norm_k: WidthNorm, heads: int, places: Places
    ) -> tuple[Tensor, Tensor]:
        return qk_norm_rope(q, k, norm_q.weight, norm_k.weight, *places, norm_q.eps)

    def modulated(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        return norm_modulate(x, shift, scale, eps)

    def residual(self, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
        return gate_residual(x, y, gate)

    def residual_normed(self, x: Tensor, y: Tensor, gate: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        total, normed = gate_residual_norm(x, y, gate, norm.bias, norm.weight - 1, norm.eps)
        return total, normed

    def residual_modulated(
        self, x: Tensor, y: Tensor, shift: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        total, normed = gate_residual_norm(x, y, None, shift, scale, eps)
        return total, normed


def attention(q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
    """As `clear_rt.models.attention.Attention`."""
    out, _ = occlusion_attention(q, k, v, None if key_bias is None else key_bias.float())
    return out


def joined_norm_silu(x: Tensor, gamma: Tensor, past: Tensor | None) -> Tensor:
    """As `clear_rt.models.vae_blocks.NormSilu`, in channels_last_3d memory."""
    batches, channels, frames, height, width = x.shape
    layout = torch.channels_last_3d
    shape = (batches, channels, PAST_FRAMES + frames, height, width)
    joined = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    norm_silu(
        x.contiguous(memory_format=layout),
        gamma,
        joined,
        None if past is None else past.contiguous(memory_format=layout),
    )
    return joined
