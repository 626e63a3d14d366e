"""The diffusion transformer with everything constant worked out: what is exported, and what the cuda engine runs.

Equal to `dit.Dit` for one prompt, a fixed list of timesteps and no CLIP features (design section 7): `export.bake`
makes it, tests compare the two. Of Wan's 1.565 B parameters 1.252 B are left.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from clear_rt.models.attention import Attention, attention
from clear_rt.models.block_ops import BlockOps, TorchOps, split_heads
from clear_rt.models.dit_blocks import MODULATION_ROWS, PATCH_VALUES, WidthNorm
from clear_rt.models.dit_config import DitConfig, DitSizes
from clear_rt.models.occlusion import OcclusionHead, key_bias
from clear_rt.models.patches import patchify, unpatchify
from clear_rt.models.rope import axis_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class BakedConfig(DitSizes):
    """Sizes of a baked model. `text_keys`: tokens of the prompt and one for its padding; `timesteps`: rows of time."""

    text_keys: int
    timesteps: int

    @classmethod
    def of(cls, dit: DitConfig, *, text_keys: int, timesteps: int) -> BakedConfig:
        shared = {field.name: getattr(dit, field.name) for field in fields(DitSizes)}
        return cls(text_keys=text_keys, timesteps=timesteps, **shared)


class BakedSelfAttention(nn.Module):
    """Queries, keys and values in one product; beta [heads] is never negative.

    `attended`: what the three pass through on their way to attention, in place of which FP8 rounds them.
    """

    def __init__(self, config: BakedConfig, weighted: bool) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv, self.o = nn.Linear(config.width, 3 * config.width), nn.Linear(config.width, config.width)
        self.norm_q, self.norm_k = (WidthNorm(config.width, config.eps) for _ in range(2))
        self.beta = nn.Parameter(torch.zeros(config.heads)) if weighted else None
        self.attended = nn.ModuleList(nn.Identity() for _ in "qkv")

    def forward(
        self,
        x: Tensor,
        places: Any,  # noqa: ANN401 - of `BlockOps.places`
        probability: Tensor | None,
        attend: Attention,
        ops: BlockOps,
    ) -> Tensor:
        q, k, v = torch.chunk(self.qkv(x), 3, dim=-1)
        q, k = ops.queries_keys(q, k, self.norm_q, self.norm_k, self.heads, places)
        bias = key_bias(probability, self.beta) if self.beta is not None and probability is not None else None
        given = (q, k, split_heads(v, self.heads))
        q, k, v = (through(x) for through, x in zip(self.attended, given, strict=True))
        return self.o(attend(q, k, v, bias).flatten(2))


class BakedCrossAttention(nn.Module):
    """Constant keys and values [T, heads, head width] of the prompt, and a bias [T] that stands for the padding."""

    def __init__(self, config: BakedConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q, self.o = (nn.Linear(config.width, config.width) for _ in range(2))
        self.norm_q = WidthNorm(config.width, config.eps)
        shape = (config.text_keys, config.heads, config.head_width)
        self.k, self.v = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(config.text_keys))

    def forward(self, x: Tensor, attend: Attention, ops: BlockOps) -> Tensor:
        q = ops.queries(self.q(x), self.norm_q, self.heads)
        batch = x.shape[0]
        k, v = (text.expand(batch, -1, -1, -1) for text in (self.k, self.v))
        return self.o(attend(q, k, v, self.bias.expand(batch, self.heads, -1)).flatten(2))


class BakedBlock(nn.Module):
    def __init__(self, config: BakedConfig, weighted: bool) -> None:
        super().__init__()
        self.eps = config.eps
        self.self_attn = BakedSelfAttention(config, weighted)
        self.cross_attn = BakedCrossAttention(config)
        self.norm3 = nn.LayerNorm(config.width, config.eps)
        self.ffn = nn.Sequential(
            nn.Linear(config.width, config.ffn_width), nn.GELU("tanh"), nn.Linear(config.ffn_width, config.width)
        )
        self.modulation = nn.Parameter(torch.zeros(MODULATION_ROWS, config.width))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        places: Any,  # noqa: ANN401 - of `BlockOps.places`
        probability: Tensor | None,
        attend: Attention,
        ops: BlockOps,
    ) -> Tensor:
        """x [B, N, width], time [6, width] -> [B, N, width]."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = torch.unbind(self.modulation + time)
        normed = ops.modulated(x, shift_a, scale_a, self.eps, self.self_attn.qkv)
        mixed = self.self_attn(normed, places, probability, attend, ops)
        x, normed = ops.residual_normed(x, mixed, gate_a, self.norm3, self.cross_attn.q)
        asked = self.cross_attn(normed, attend, ops)
        x, normed = ops.residual_modulated(x, asked, shift_m, scale_m, self.eps, self.ffn[0])
        return ops.residual(x, ops.feed_forward(normed, self.ffn), gate_m)


class BakedHead(nn.Module):
    def __init__(self, config: BakedConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.width, PATCH_VALUES * config.latent_channels)
        self.modulation = nn.Parameter(torch.zeros(2, config.width))

    def forward(self, x: Tensor, time: Tensor, ops: BlockOps) -> Tensor:
        shift, scale = torch.unbind(self.modulation + time)
        return self.head(ops.modulated(x, shift, scale, self.eps, self.head))


class ControlEmbedding(nn.Module):
    """Control latents to tokens, and the bias of the whole patch embedding: once per window, not once per step."""

    def __init__(self, config: BakedConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH_VALUES * config.latent_channels, config.width)

    def forward(self, latents: Tensor) -> Tensor:
        """latents [B, C, L, h, w] -> tokens [B, N, width]."""
        return self.embed(patchify(latents))


class BakedDit(nn.Module):
    """One denoising step. `time` holds rows for the blocks, 0 to 5, and for the head, 6, of every timestep."""

    time_turns: Tensor
    row_turns: Tensor
    column_turns: Tensor

    def __init__(self, config: BakedConfig, attend: Attention = attention, ops: BlockOps | None = None) -> None:
        super().__init__()
        self.config, self.attend, self.ops = config, attend, ops or TorchOps()
        self.control = ControlEmbedding(config)
        self.embed = nn.Linear(PATCH_VALUES * config.latent_channels, config.width, bias=False)
        self.time = nn.Parameter(torch.zeros(config.timesteps, MODULATION_ROWS + 1, config.width))
        self.blocks = nn.ModuleList(BakedBlock(config, weighted=config.is_weighted(i)) for i in range(config.layers))
        self.head = BakedHead(config)
        self.occlusion_head = OcclusionHead(config.width) if config.occlusion else None
        self.place_turns(self.time)

    def place_turns(self, like: Tensor) -> BakedDit:
        """Rotary tables in the dtype and on the device of `like`; no part of the state dict, so call it after loading.

        float32 at least: bfloat16 would place positions from 256 on wrongly.
        """
        dtype = torch.promote_types(like.dtype, torch.float32)
        for axis, table in zip(("time", "row", "column"), axis_tables(self.config.head_width), strict=True):
            self.register_buffer(f"{axis}_turns", table.to(like.device, dtype), persistent=False)
        return self

    def forward(self, latents: Tensor, control_tokens: Tensor, row: Tensor) -> Tensor:
        """latents [B, C, L, h, w], control_tokens [B, N, width] of `control`, row int64 [] -> velocity as latents."""
        grid = (latents.shape[2], latents.shape[3] // 2, latents.shape[4] // 2)
        x = self.embed(patchify(latents)) + control_tokens
        time = torch.index_select(self.time, 0, row.reshape(1))[0]
        places = self.ops.places((self.time_turns, self.row_turns, self.column_turns), grid)
        probability = None
        for i, block in enumerate(self.blocks):
            x = block(x, time[:MODULATION_ROWS], places, probability, self.attend, self.ops)
            if self.occlusion_head is not None and i == self.config.middle:
                probability = self.occlusion_head(x, grid)
        return unpatchify(self.head(x, time[MODULATION_ROWS], self.ops), grid)
