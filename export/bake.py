"""Works out everything constant in a diffusion transformer (design section 7, reference.md 1.7).

All of it is exact up to rounding: the prompt's keys and values, its padding as one key, the CLIP branch as a bias, the
time embedding as a table, the control's part of the patch embedding on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import log

import torch
from torch import Tensor

from clear_rt.models.baked import BakedConfig, BakedDit
from clear_rt.models.block_ops import split_heads
from clear_rt.models.dit import Dit
from clear_rt.models.dit_blocks import Block, CrossAttention, SelfAttention

Named = Iterator[tuple[str, Tensor]]


@torch.no_grad()
def bake(dit: Dit, prompt: Tensor, timesteps: Sequence[float]) -> BakedDit:
    """A step of `dit` for one prompt [P, text_width], 1 <= P <= text_tokens, and the timesteps that may be asked for.

    Weights that stay as they are are shared with `dit`, so that the real model fits into memory. An occlusion head that
    weighs nothing, every beta being 0 or less, is left out: attention is then plain.
    Raises ValueError for a prompt of another width or length.
    """
    tokens, width = prompt.shape
    if not 1 <= tokens <= dit.config.text_tokens or width != dit.config.text_width:
        raise ValueError(
            f"expected a prompt of 1 to {dit.config.text_tokens} tokens x {dit.config.text_width}, "
            f"got {tokens} x {width}"
        )
    pad_keys = dit.config.text_tokens - tokens
    words = _words(dit, prompt, pad_keys)
    config = BakedConfig.of(dit.config, text_keys=len(words), timesteps=len(timesteps))
    config = replace(config, occlusion=_weighs(dit))
    with torch.device("meta"):
        baked = BakedDit(config, dit.attend)
    state = dict(_outside(dit, timesteps))
    image = dit.image_tokens(None, 1)
    for i, block in enumerate(dit.blocks):
        assert isinstance(block, Block)
        state.update((f"blocks.{i}.{name}", tensor) for name, tensor in _block(block, words, pad_keys, image))
    if not config.occlusion:
        state = {n: t for n, t in state.items() if not n.startswith("occlusion_head.") and not n.endswith(".beta")}
    baked.load_state_dict(state, assign=True)
    return baked.place_turns(dit.patch_embedding.weight).requires_grad_(False)


def _weighs(dit: Dit) -> bool:
    """Whether any head of any block trusts keys under the subtitle less."""
    return any(bool((p > 0).any()) for name, p in dit.named_parameters() if name.endswith(".occlusion_beta"))


def _words(dit: Dit, prompt: Tensor, pad_keys: int) -> Tensor:
    """The prompt's tokens as the blocks see them, [P, width], and one more for its padding where there is any."""
    rows = prompt.to(dit.patch_embedding.weight)
    if pad_keys:
        rows = torch.cat((rows, rows.new_zeros(1, rows.shape[1])))
    return dit.text_embedding(rows)


def _outside(dit: Dit, timesteps: Sequence[float]) -> Named:
    """Everything but the blocks."""
    weight, channels = dit.patch_embedding.weight.flatten(2), dit.config.latent_channels
    yield "embed.weight", weight[:, :channels].flatten(1).contiguous()
    yield "control.embed.weight", weight[:, channels : 2 * channels].flatten(1).contiguous()
    assert dit.patch_embedding.bias is not None
    yield "control.embed.bias", dit.patch_embedding.bias
    head, rows = dit.embedded_time(torch.tensor(timesteps, dtype=torch.float64))
    yield "time", torch.cat((rows, head[:, None]), 1)
    yield from _linear("head.head", dit.head.head)
    yield "head.modulation", dit.head.modulation[0]
    if dit.occlusion_head is not None:
        yield from ((f"occlusion_head.{name}", tensor) for name, tensor in dit.occlusion_head.named_parameters())


def _block(block: Block, words: Tensor, pad_keys: int, image: Tensor | None) -> Named:
    yield "modulation", block.modulation[0]
    for name, tensor in block.norm3.named_parameters():
        yield f"norm3.{name}", tensor
    for name, tensor in block.ffn.named_parameters():
        yield f"ffn.{name}", tensor
    yield from ((f"self_attn.{name}", tensor) for name, tensor in _self_attention(block.self_attn))
    yield from ((f"cross_attn.{name}", tensor) for name, tensor in _cross_attention(block, words, pad_keys, image))


def _self_attention(layer: SelfAttention) -> Named:
    yield "qkv.weight", torch.cat((layer.q.weight, layer.k.weight, layer.v.weight))
    yield "qkv.bias", torch.cat((layer.q.bias, layer.k.bias, layer.v.bias))
    yield from _linear("o", layer.o)
    yield "norm_q.weight", layer.norm_q.weight
    yield "norm_k.weight", layer.norm_k.weight
    if layer.occlusion_beta is not None:
        yield "beta", layer.occlusion_beta.clamp(min=0)


def _cross_attention(block: Block, words: Tensor, pad_keys: int, image: Tensor | None) -> Named:
    layer = block.cross_attn
    yield from _linear("q", layer.q)
    yield "norm_q.weight", layer.norm_q.weight
    yield "k", split_heads(layer.norm_k(layer.k(words))[None], layer.heads)[0]
    yield "v", split_heads(layer.v(words)[None], layer.heads)[0]
    bias = words.new_zeros(len(words))
    if pad_keys:
        bias[-1] = log(pad_keys)
    yield "bias", bias
    yield "o.weight", layer.o.weight
    yield "o.bias", layer.o.bias if image is None else layer.o.bias + layer.o.weight @ _constant_image(layer, image)


def _constant_image(layer: CrossAttention, image: Tensor) -> Tensor:
    """What attention to the CLIP tokens gives for features of zero: all values are the same one."""
    return layer.v_img(image[0, 0])


def _linear(name: str, layer: torch.nn.Linear) -> Named:
    yield f"{name}.weight", layer.weight
    yield f"{name}.bias", layer.bias
