"""The diffusion transformer of Wan2.1-Fun-V1.1-1.3B-Control (reference.md 1), any size, with CLEAR's occlusion head.

This is the definition that the baked model, the ONNX graphs and the kernels are compared with. Parameters carry the
names of the original checkpoint; `occlusion_head` and `occlusion_beta` are ours and absent in released weights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from clear_rt.models.attention import Attention, attention
from clear_rt.models.dit_blocks import MODULATION_ROWS, Block, Head, ImageEmbedding
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.occlusion import OcclusionHead
from clear_rt.models.patches import unpatchify
from clear_rt.models.rope import axis_tables, rotation

PATCH = (1, 2, 2)


class DitOutput(NamedTuple):
    """velocity [B, C, L, h, w]; occlusion [B, L, h / 2, w / 2], 0..1, None without an occlusion head."""

    velocity: Tensor
    occlusion: Tensor | None


def sinusoids(timesteps: Tensor, width: int) -> Tensor:
    """timesteps [B], 0..1000 -> float64 [B, width], cosines first."""
    half = width // 2
    frequencies = 10000.0 ** -(torch.arange(half, dtype=torch.float64, device=timesteps.device) / half)
    angles = timesteps.double()[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), -1)


class Dit(nn.Module):
    """The whole model; `attend` computes every attention of it.

    Raises ValueError where latents and control differ in shape or have odd sides.
    """

    def __init__(self, config: DitConfig, attend: Attention = attention) -> None:
        super().__init__()
        self.config, self.attend = config, attend
        width = config.width
        self.patch_embedding = nn.Conv3d(config.slots * config.latent_channels, width, PATCH, PATCH)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_width, width), nn.GELU("tanh"), nn.Linear(width, width)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_width, width), nn.SiLU(), nn.Linear(width, width))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(width, MODULATION_ROWS * width))
        self.blocks = nn.ModuleList(Block(config, weighted=config.is_weighted(i)) for i in range(config.layers))
        self.head = Head(config)
        self.img_emb = ImageEmbedding(config) if config.image_width else None
        self.ref_conv = nn.Conv2d(config.latent_channels, width, 2, 2) if config.ref_conv else None
        self.occlusion_head = OcclusionHead(width) if config.occlusion else None

    def embedded_time(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """timesteps [B] -> what the head takes, [B, width], and what the blocks take, [B, 6, width]."""
        dtype = self.patch_embedding.weight.dtype
        time = self.time_embedding(sinusoids(timesteps, self.config.freq_width).to(dtype))
        return time, self.time_projection(time).unflatten(-1, (MODULATION_ROWS, -1))

    def image_tokens(self, image: Tensor | None, batch: int) -> Tensor | None:
        """CLIP features [B, 257, 1280] to tokens; zeros where none are given, None without an image branch."""
        if self.img_emb is None:
            return None
        if image is None:
            weight = self.patch_embedding.weight
            image = weight.new_zeros(batch, self.config.image_tokens, self.config.image_width)
        return self.img_emb(image)

    def forward(
        self, latents: Tensor, control: Tensor | None, timesteps: Tensor, text: Tensor, image: Tensor | None = None
    ) -> DitOutput:
        """latents, control [B, C, L, h, w], timesteps [B] in 0..1000, text [B, 512, text_width] padded with zeros.

        The slots behind the control are zero. A model of one slot takes no control.
        """
        x = self._input(latents, control)
        grid = (x.shape[2], x.shape[3] // 2, x.shape[4] // 2)
        x = self.patch_embedding(x).flatten(2).transpose(1, 2)
        time, rows = self.embedded_time(timesteps)
        words, picture = self.text_embedding(text), self.image_tokens(image, x.shape[0])
        tables = tuple(table.to(x.device) for table in axis_tables(self.config.head_width))
        turn = rotation((tables[0], tables[1], tables[2]), *grid).to(torch.promote_types(x.dtype, torch.float32))
        probability = None
        for i, block in enumerate(self.blocks):
            x = block(x, rows, words, picture, turn, probability, self.attend)
            if self.occlusion_head is not None and i == self.config.middle:
                probability = self.occlusion_head(x, grid)
        velocity = unpatchify(self.head(x, time), grid)
        return DitOutput(velocity, None if probability is None else probability.unflatten(1, grid))

    def _input(self, latents: Tensor, control: Tensor | None) -> Tensor:
        if control is not None and control.shape != latents.shape:
            raise ValueError(
                f"expected latents and control of one shape, got {[*latents.shape]} and {[*control.shape]}"
            )
        if latents.shape[-1] % 2 or latents.shape[-2] % 2:
            raise ValueError(f"expected latents with even sides, got {latents.shape[-1]}x{latents.shape[-2]}")
        given = [latents] if control is None else [latents, control]
        empty = [torch.zeros_like(latents)] * (self.config.slots - len(given))
        return torch.cat(given + empty, 1)
