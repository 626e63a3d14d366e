"""The parts of the diffusion transformer (reference.md 1.3), named as in the original checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.models.attention import Attention
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.occlusion import key_bias
from clear_rt.models.rope import rotate

PATCH_VALUES = 4
MODULATION_ROWS = 6


class WidthNorm(nn.Module):
    """x / rms(x) * weight over the whole width, before it is split into heads."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


class SelfAttention(nn.Module):
    def __init__(self, config: DitConfig, weighted: bool) -> None:
        super().__init__()
        self.heads = config.heads
        self.q, self.k, self.v, self.o = (nn.Linear(config.width, config.width) for _ in range(4))
        self.norm_q, self.norm_k = (WidthNorm(config.width, config.eps) for _ in range(2))
        self.occlusion_beta = nn.Parameter(torch.zeros(config.heads)) if weighted else None

    def forward(self, x: Tensor, turn: Tensor, probability: Tensor | None, attend: Attention) -> Tensor:
        heads = (self.heads, -1)
        q = rotate(self.norm_q(self.q(x)).unflatten(-1, heads), turn)
        k = rotate(self.norm_k(self.k(x)).unflatten(-1, heads), turn)
        bias = None
        if self.occlusion_beta is not None and probability is not None:
            bias = key_bias(probability, self.occlusion_beta)
        return self.o(attend(q, k, self.v(x).unflatten(-1, heads), bias).flatten(-2))


class CrossAttention(nn.Module):
    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q, self.k, self.v, self.o = (nn.Linear(config.width, config.width) for _ in range(4))
        self.norm_q, self.norm_k = (WidthNorm(config.width, config.eps) for _ in range(2))
        self.has_image = config.image_width > 0
        if self.has_image:
            self.k_img, self.v_img = (nn.Linear(config.width, config.width) for _ in range(2))
            self.norm_k_img = WidthNorm(config.width, config.eps)

    def forward(self, x: Tensor, text: Tensor, image: Tensor | None, attend: Attention) -> Tensor:
        """Padding of the text is not masked (reference.md 1.3); text and image have a softmax of their own."""
        heads = (self.heads, -1)
        q = self.norm_q(self.q(x)).unflatten(-1, heads)
        k, v = self.norm_k(self.k(text)).unflatten(-1, heads), self.v(text).unflatten(-1, heads)
        found = attend(q, k, v, None)
        if image is not None:
            k, v = self.norm_k_img(self.k_img(image)).unflatten(-1, heads), self.v_img(image).unflatten(-1, heads)
            found = found + attend(q, k, v, None)
        return self.o(found.flatten(-2))


class Block(nn.Module):
    def __init__(self, config: DitConfig, weighted: bool) -> None:
        super().__init__()
        self.eps = config.eps
        self.self_attn = SelfAttention(config, weighted)
        self.cross_attn = CrossAttention(config)
        self.norm3 = nn.LayerNorm(config.width, config.eps)
        self.ffn = nn.Sequential(
            nn.Linear(config.width, config.ffn_width), nn.GELU("tanh"), nn.Linear(config.ffn_width, config.width)
        )
        self.modulation = nn.Parameter(torch.randn(1, MODULATION_ROWS, config.width) / config.width**0.5)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        text: Tensor,
        image: Tensor | None,
        turn: Tensor,
        probability: Tensor | None,
        attend: Attention,
    ) -> Tensor:
        """x [B, N, width], time [B, 6, width] -> [B, N, width]."""
        rows = torch.split(self.modulation + time, 1, dim=1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = rows
        x = x + gate_a * self.self_attn(modulated(x, shift_a, scale_a, self.eps), turn, probability, attend)
        x = x + self.cross_attn(self.norm3(x), text, image, attend)
        return x + gate_m * self.ffn(modulated(x, shift_m, scale_m, self.eps))


class Head(nn.Module):
    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.width, PATCH_VALUES * config.latent_channels)
        self.modulation = nn.Parameter(torch.randn(1, 2, config.width) / config.width**0.5)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, N, width], time [B, width] -> [B, N, 4 C]."""
        shift, scale = torch.split(self.modulation + time[:, None], 1, dim=1)
        return self.head(modulated(x, shift, scale, self.eps))


class ImageEmbedding(nn.Module):
    """CLIP features to tokens; CLEAR feeds zeros, so that this is a constant (reference.md 1.7)."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(config.image_width),
            nn.Linear(config.image_width, config.image_width),
            nn.GELU(),
            nn.Linear(config.image_width, config.width),
            nn.LayerNorm(config.width),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.proj(features)


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """layer_norm(x) * (1 + scale) + shift, without learned weights."""
    return functional.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift
