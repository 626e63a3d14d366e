"""What a block of the baked transformer does between its matrix products and attention: where kernels take over.

`TorchOps` is the definition, and what is exported; `clear_rt.kernels.block_ops` is the same by our kernels.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from clear_rt.models.dit_blocks import WidthNorm, modulated
from clear_rt.models.rope import rotate, rotation

Tables = tuple[Tensor, Tensor, Tensor]
Grid = tuple[int, int, int]


class BlockOps(Protocol):
    """x and y [B, N, width]; gate, shift and scale [width].

    `into` is the linear that a result goes to and nothing else does: one in FP8 may get it in E4M3.
    """

    def places(self, tables: Tables, grid: Grid) -> Any:  # noqa: ANN401 - whatever `queries_keys` wants
        """Where tokens of a grid (latents, rows, columns) lie; once per pass. `tables` of `rope.axis_tables`."""

    def queries_keys(
        self,
        q: Tensor,
        k: Tensor,
        norm_q: WidthNorm,
        norm_k: WidthNorm,
        heads: int,
        places: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor]:
        """q and k [B, N, width], maybe strided -> normed, turned, [B, N, heads, head width]."""

    def queries(self, q: Tensor, norm: WidthNorm, heads: int) -> Tensor:
        """q [B, N, width] -> normed, [B, N, heads, head width]."""

    def modulated(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float, into: nn.Module) -> Tensor:
        """layer_norm(x) * (1 + scale) + shift."""

    def feed_forward(self, x: Tensor, network: nn.Sequential) -> Tensor:
        """`network` of x: a linear, tanh-GELU, a linear."""

    def residual(self, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
        """x + gate * y."""

    def residual_normed(
        self, x: Tensor, y: Tensor, gate: Tensor, norm: nn.LayerNorm, into: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """x + gate * y, and `norm` of it."""

    def residual_modulated(
        self, x: Tensor, y: Tensor, shift: Tensor, scale: Tensor, eps: float, into: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """x + y, and `modulated` of it."""


class TorchOps:
    """As `BlockOps`, by torch."""

    def places(self, tables: Tables, grid: Grid) -> Tensor:
        return rotation(tables, *grid)

    def queries_keys(
        self, q: Tensor, k: Tensor, norm_q: WidthNorm, norm_k: WidthNorm, heads: int, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        return rotate(split_heads(norm_q(q), heads), places), rotate(split_heads(norm_k(k), heads), places)

    def queries(self, q: Tensor, norm: WidthNorm, heads: int) -> Tensor:
        return split_heads(norm(q), heads)

    def modulated(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float, into: nn.Module) -> Tensor:
        return modulated(x, shift, scale, eps)

    def feed_forward(self, x: Tensor, network: nn.Sequential) -> Tensor:
        made: Tensor = network(x)
        return made

    def residual(self, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
        return x + gate * y

    def residual_normed(
        self, x: Tensor, y: Tensor, gate: Tensor, norm: nn.LayerNorm, into: nn.Module
    ) -> tuple[Tensor, Tensor]:
        x = x + gate * y
        return x, norm(x)

    def residual_modulated(
        self, x: Tensor, y: Tensor, shift: Tensor, scale: Tensor, eps: float, into: nn.Module
    ) -> tuple[Tensor, Tensor]:
        x = x + y
        return x, modulated(x, shift, scale, eps)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, width] -> [B, N, heads, head width]."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1)
