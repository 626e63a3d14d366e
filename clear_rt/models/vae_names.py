"""The VAE's tensor names in diffusers' AutoencoderKLWan, by the original ones. Source: reference.md 3.2."""

from __future__ import annotations

import torch

from clear_rt.models.vae import Vae
from clear_rt.models.vae_config import VaeConfig

OUTER = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
HEAD = {"0": "norm_out", "2": "conv_out"}
MIDDLE = {"0": "mid_block.resnets.0", "1": "mid_block.attentions.0", "2": "mid_block.resnets.1"}
RESIDUAL = {"0": "norm1", "2": "conv1", "3": "norm2", "6": "conv2"}


def diffusers_names(config: VaeConfig) -> dict[str, str]:
    """Diffusers' name of every tensor of the VAE, by its original name."""
    with torch.device("meta"):
        names = Vae(config).state_dict()
    return {name: _diffusers_name(name.split("."), config) for name in names}


def _diffusers_name(parts: list[str], config: VaeConfig) -> str:
    match parts:
        case ["encoder" | "decoder" as coder, "conv1", *inner]:
            place = [coder, "conv_in"]
        case [coder, "middle", block, *inner]:
            place = [coder, MIDDLE[block]]
        case [coder, "head", layer, *inner]:
            place = [coder, HEAD[layer]]
        case [coder, "downsamples", index, *inner]:
            place = [coder, "down_blocks", index]
        case [coder, "upsamples", index, *inner]:
            place = [coder, _up_place(int(index), config.res_blocks + 1)]
        case [outer, *inner]:
            place = [OUTER[outer]]
    return ".".join((*place, *_within_block(inner)))


def _up_place(index: int, blocks: int) -> str:
    """Diffusers groups the decoder's flat list by stages: `blocks` residual blocks, then the upsampler."""
    stage, position = divmod(index, blocks + 1)
    return f"up_blocks.{stage}." + ("upsamplers.0" if position == blocks else f"resnets.{position}")


def _within_block(parts: list[str]) -> list[str]:
    match parts:
        case ["residual", layer, kind]:
            return [RESIDUAL[layer], kind]
        case ["shortcut", kind]:
            return ["conv_shortcut", kind]
    return parts
