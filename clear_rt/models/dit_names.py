"""Names and shapes of the transformer's tensors, in the original checkpoint and in diffusers (reference.md 1.2)."""

from __future__ import annotations

import re

import torch

from clear_rt.models.dit import Dit
from clear_rt.models.dit_config import DitConfig

REF_CONV = "ref_conv."
OCCLUSION_HEAD = "occlusion_head."
OCCLUSION_BETA = ".self_attn.occlusion_beta"

_BLOCK = re.compile(r"(blocks\.\d+\.)(.+)")
_GLOBAL_PARTS = {
    "time_embedding.0.": "condition_embedder.time_embedder.linear_1.",
    "time_embedding.2.": "condition_embedder.time_embedder.linear_2.",
    "text_embedding.0.": "condition_embedder.text_embedder.linear_1.",
    "text_embedding.2.": "condition_embedder.text_embedder.linear_2.",
    "time_projection.1.": "condition_embedder.time_proj.",
    "img_emb.proj.0.": "condition_embedder.image_embedder.norm1.",
    "img_emb.proj.1.": "condition_embedder.image_embedder.ff.net.0.proj.",
    "img_emb.proj.3.": "condition_embedder.image_embedder.ff.net.2.",
    "img_emb.proj.4.": "condition_embedder.image_embedder.norm2.",
    "head.modulation": "scale_shift_table",
    "head.head.": "proj_out.",
}
# diffusers counts norms in the order of use: its norm2 stands before cross attention and is the only one with weights.
_BLOCK_PARTS = {
    "modulation": "scale_shift_table",
    "norm3.": "norm2.",
    "ffn.0.": "ffn.net.0.proj.",
    "ffn.2.": "ffn.net.2.",
    "cross_attn.k_img.": "attn2.add_k_proj.",
    "cross_attn.v_img.": "attn2.add_v_proj.",
    "cross_attn.norm_k_img.": "attn2.norm_added_k.",
}
_ATTENTIONS = {"self_attn.": "attn1.", "cross_attn.": "attn2."}
_ATTENTION_PARTS = {"q.": "to_q.", "k.": "to_k.", "v.": "to_v.", "o.": "to_out.0."}


def dit_shapes(config: DitConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of the model by its original name; nothing is allocated."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in Dit(config).state_dict().items()}


def diffusers_names(config: DitConfig) -> dict[str, str]:
    """The name in WanTransformer3DModel for every original name.

    `ref_conv` and the occlusion head, which diffusers lacks, keep the names they have.
    """
    return {name: diffusers_name(name) for name in dit_shapes(config)}


def diffusers_name(original: str) -> str:
    """The name in WanTransformer3DModel of one tensor."""
    block = _BLOCK.fullmatch(original)
    if block is None:
        return _exchanged(original, _GLOBAL_PARTS)
    head, rest = block.groups()
    found = _exchanged(rest, _BLOCK_PARTS)
    for ours, theirs in _ATTENTIONS.items():
        if found.startswith(ours):
            found = theirs + _exchanged(found.removeprefix(ours), _ATTENTION_PARTS)
    return head + found


def is_occlusion(original: str) -> bool:
    """Whether a tensor belongs to the occlusion head or its attention weights, which released checkpoints lack."""
    return original.startswith(OCCLUSION_HEAD) or original.endswith(OCCLUSION_BETA)


def _exchanged(name: str, parts: dict[str, str]) -> str:
    for ours, theirs in parts.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
