"""Blocks of the Wan VAE, for a whole run and for a step of it: tensors [B, C, T, H, W], time causal.

A block called with a `History` without a past begins a run, with however many frames; called with one that has a past,
it continues. So the whole sequence and the stream are the same code, and differ in nothing but how frames are dealt.
Module names give the original checkpoint's tensor names. Source: reference.md 3.1, 3.2, 3.4.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.models.attention import Attention, attention
from clear_rt.models.vae_cache import History

PAST_FRAMES = 2
NORM_EPS = 1e-12


class CausalConv3d(nn.Conv3d):
    """Convolution over three frames: the present and two before it, which are zeros before the run. T, H, W stay."""

    def __init__(self, channels_in: int, channels_out: int, side_px: int = 3) -> None:
        pad_px = side_px // 2
        kernel = (PAST_FRAMES + 1, side_px, side_px)
        super().__init__(channels_in, channels_out, kernel, padding=(0, pad_px, pad_px))

    def causal(self, x: Tensor, history: History) -> Tensor:
        past = history.take()
        joined = functional.pad(x, (0, 0, 0, 0, PAST_FRAMES, 0)) if past is None else torch.cat((past, x), 2)
        history.put(joined[:, :, -PAST_FRAMES:])
        return self(joined)


class RmsNorm(nn.Module):
    """x / |x| * sqrt(C) * gamma, the length |x| over the channels (axis 1), at each position alone.

    In fp16 and bf16 the length is that of the fp32 values. `axes`: axes after the channels.
    """

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * axes))

    def forward(self, x: Tensor) -> Tensor:
        # Not normalize(): on two cores 2 ms instead of 33 for 8 channels at 640x144x4, and no Expand in the graph.
        # The bound comes before the root, whose slope at 0 would make the gradient of a black picture NaN.
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        scale = wide.square().sum(1, keepdim=True).clamp_min(NORM_EPS**2).rsqrt()
        return (wide * scale).to(x.dtype) * (self.gamma * len(self.gamma) ** 0.5)


class Layers(nn.ModuleList):
    """Layers run in turn, of which the causal convolutions look back; numbered in the names as in the original."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(layers)

    def forward(self, x: Tensor, history: History) -> Tensor:
        for layer in self:
            x = layer.causal(x, history) if isinstance(layer, CausalConv3d) else layer(x)
        return x


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1x1 convolution on x where the channels change."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.residual = Layers(
            RmsNorm(channels_in, axes=3),
            nn.SiLU(inplace=True),
            CausalConv3d(channels_in, channels_out),
            RmsNorm(channels_out, axes=3),
            nn.SiLU(inplace=True),
            nn.Identity(),  # the original's dropout of 0: without it the last layer would not be number 6
            CausalConv3d(channels_out, channels_out),
        )
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv3d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, history: History) -> Tensor:
        return self.shortcut(x) + self.residual(x, history)


class Head(Layers):
    """Norm, SiLU and the last convolution of a coder."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(RmsNorm(channels_in, axes=3), nn.SiLU(inplace=True), CausalConv3d(channels_in, channels_out))


class AttentionBlock(nn.Module):
    """x + attention over the h * w positions of each frame by itself, one head as wide as the channels.

    `attend` computes it: an export puts another in its place.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RmsNorm(channels, axes=2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        self.attend: Attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return x + per_frame(self._attended, x)

    def _attended(self, frames: Tensor) -> Tensor:
        # Positions before channels in memory: the fused kernels want rows without gaps, and fall back to h*w x h*w
        # scores where they do not get them.
        rows = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2).unsqueeze(2).contiguous()
        q, k, v = rows.chunk(3, dim=-1)
        mixed = self.attend(q, k, v, None)
        return self.proj(mixed.squeeze(2).transpose(1, 2).reshape(frames.shape))


def per_frame(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer of pictures [N, C, H, W] -> [N, C', H', W'] on every frame of x [B, C, T, H, W]."""
    pictures = layer(x.transpose(1, 2).flatten(0, 1))
    return pictures.reshape(x.shape[0], x.shape[2], *pictures.shape[1:]).transpose(1, 2)
