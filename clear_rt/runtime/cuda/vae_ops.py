"""What the streamed VAE computes with: our kernels where they fit, their references in torch elsewhere."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from clear_rt.kernels.causal_conv import LEAST_CHANNELS, Taps, causal_conv, causal_conv_ref
from clear_rt.kernels.contract import HALVES
from clear_rt.kernels.norm_silu import norm_silu, norm_silu_ref


class VaeOps(Protocol):
    """Frames [T, H, W, C]; `joined` [2 + T, H + 2, W + 2, C] has a border of zeros, `kept` [2, H, W, C]."""

    def norm_silu(self, x: Tensor, gamma: Tensor, joined: Tensor, kept: Tensor, *, begins: bool) -> None:
        """Fills joined but for its border: zeros or `kept`, then silu(norm(x)); its last two frames into `kept`."""

    def conv(
        self, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, taps: Taps, residual: Tensor | None = None
    ) -> None:
        """As `clear_rt.kernels.causal_conv.causal_conv`."""


class TorchVaeOps:
    """As `VaeOps`, by the references: on any device, in any dtype."""

    def norm_silu(self, x: Tensor, gamma: Tensor, joined: Tensor, kept: Tensor, *, begins: bool) -> None:
        made = norm_silu_ref(_channels_first(x), gamma, None if begins else _channels_first(kept))
        joined[:, 1:-1, 1:-1] = made[0].permute(1, 2, 3, 0)
        kept.copy_(joined[-len(kept) :, 1:-1, 1:-1])

    def conv(
        self, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, taps: Taps, residual: Tensor | None = None
    ) -> None:
        causal_conv_ref(x, weight, bias, out, residual, taps)


class KernelVaeOps(TorchVaeOps):
    """As `VaeOps`, on a GPU; convolutions of channels that no tensor descriptor takes are left to torch."""

    def norm_silu(self, x: Tensor, gamma: Tensor, joined: Tensor, kept: Tensor, *, begins: bool) -> None:
        past = None if begins else _channels_first(kept)
        norm_silu(_channels_first(x), gamma, _channels_first(joined), past, _channels_first(kept))

    def conv(
        self, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, taps: Taps, residual: Tensor | None = None
    ) -> None:
        if x.shape[-1] % LEAST_CHANNELS or x.dtype not in HALVES:
            causal_conv_ref(x, weight, bias, out, residual, taps)
        else:
            causal_conv(x, weight, bias, out, residual, taps)


def _channels_first(frames: Tensor) -> Tensor:
    """[T, H, W, C] as [1, C, T, H, W], the same memory, which is channels_last_3d then."""
    return frames.permute(3, 0, 1, 2)[None]
