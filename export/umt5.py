"""The text encoder of Wan, UMT5-XXL, from its own file: only to make a prompt's embedding once (reference.md 4)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

from clear_rt.errors import WeightsError
from clear_rt.export.prompt import MAX_TOKENS, cleaned
from clear_rt.models.checkpoint import open_checkpoint
from clear_rt.models.weights import check

_BLOCK = re.compile(r"encoder\.block\.(\d+)\.(.+)")
_GLOBAL = {"shared.weight": "token_embedding.weight", "encoder.final_layer_norm.weight": "norm.weight"}
_IN_BLOCK = {
    "layer.0.layer_norm.weight": "norm1.weight",
    "layer.0.SelfAttention.q.weight": "attn.q.weight",
    "layer.0.SelfAttention.k.weight": "attn.k.weight",
    "layer.0.SelfAttention.v.weight": "attn.v.weight",
    "layer.0.SelfAttention.o.weight": "attn.o.weight",
    "layer.0.SelfAttention.relative_attention_bias.weight": "pos_embedding.embedding.weight",
    "layer.1.layer_norm.weight": "norm2.weight",
    "layer.1.DenseReluDense.wi_0.weight": "ffn.gate.0.weight",
    "layer.1.DenseReluDense.wi_1.weight": "ffn.fc1.weight",
    "layer.1.DenseReluDense.wo.weight": "ffn.fc2.weight",
}
# The embedding under its second name: transformers ties the two.
_TIED = "encoder.embed_tokens.weight"


def xxl_config() -> UMT5Config:
    """Sizes of the released encoder: 5,680,910,336 parameters."""
    return UMT5Config(
        vocab_size=256384, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, dropout_rate=0.0
    )


def wan_names(model: UMT5EncoderModel) -> dict[str, str]:
    """Wan's name for every tensor of transformers' encoder, by the name there."""
    return {name: _wan_name(name) for name in model.state_dict() if name != _TIED}


def load_encoder(file: Path, config: UMT5Config | None = None) -> UMT5EncoderModel:
    """The encoder in the type of the file, which stays mapped: 11 GB are read from disk as they are used, not copied.

    Raises WeightsError where a tensor is missing, unexpected or wrongly shaped, or the file is damaged.
    """
    with torch.device("meta"):
        model: Any = UMT5EncoderModel(config or xxl_config())
    checkpoint, names, sizes = open_checkpoint(file), wan_names(model), model.state_dict()
    check(checkpoint.source, checkpoint.shapes, {wan: tuple(sizes[ours].shape) for ours, wan in names.items()})
    state = {ours: checkpoint[wan].detach() for ours, wan in names.items()}
    state[_TIED] = state["shared.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    model.eval().requires_grad_(False)
    return model


def embedded(text: str, file: Path, tokenizer: Path, config: UMT5Config | None = None) -> Tensor:
    """The prompt's embedding [P, width] in the type of the file, P <= 512, end of sentence included.

    Wan pads to 512 tokens, hides the padding from the encoder and zeroes its rows: nothing else reaches P rows, so
    they are encoded alone. Raises WeightsError as `load_encoder`, and where the folder holds no tokenizer.
    """
    try:
        words = AutoTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(f"{tokenizer}: expected the tokenizer of umt5-xxl ({reason}); fetch its folder") from error
    tokens = words(cleaned(text), truncation=True, max_length=MAX_TOKENS, return_tensors="pt").input_ids
    model = load_encoder(file, config)
    if int(tokens.max()) >= model.config.vocab_size:
        raise WeightsError(
            f"{tokenizer}: expected tokens below {model.config.vocab_size}, found {int(tokens.max())}; "
            "use the tokenizer that belongs to the encoder"
        )
    with torch.no_grad():
        return model(input_ids=tokens).last_hidden_state[0]


def _wan_name(name: str) -> str:
    block = _BLOCK.fullmatch(name)
    return _GLOBAL[name] if block is None else f"blocks.{block[1]}.{_IN_BLOCK[block[2]]}"
