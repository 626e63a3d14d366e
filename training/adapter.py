"""CLEAR's adapter on a base: LoRA on ten linears of every block, an occlusion head, learned betas (reference.md 2, 7).

At the real sizes and rank 64: 600 tensors of 87,490,560 values on 300 linears; the head 884,865, the betas 168.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from clear_rt.errors import ConfigError
from clear_rt.models.checkpoint import open_checkpoint
from clear_rt.models.dit import Dit
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.dit_names import is_occlusion
from clear_rt.models.occlusion import OcclusionHead
from clear_rt.models.weights import load_dit

# The linears of CLEAR's adapter: in every block those of both attentions, and both of the feed-forward network.
TARGETS = r"blocks\.\d+\.((self_attn|cross_attn)\.(q|k|v|o)|ffn\.(0|2))"


def with_adapter(base: Path | Sequence[Path], sizes: DitConfig, rank: int, dtype: torch.dtype = torch.float32) -> Dit:
    """A base's weights, in `dtype`, under an adapter in fp32 that changes nothing yet; the adapter alone learns.

    With `sizes.occlusion` an occlusion head and betas as well: the base's own, or untrained ones where it has none.
    Raises WeightsError where the files are no base of these sizes, ConfigError for a rank below 1.
    """
    dit = load_dit(base, sizes, dtype)
    taught = any(is_occlusion(name) for name in open_checkpoint(base))
    adapt(dit, rank)
    if sizes.occlusion and not taught:
        # After the adapter: its first weights are then the same with and without a head.
        dit.occlusion_head = OcclusionHead(sizes.width)
    return dit


def adapt(dit: Dit, rank: int) -> None:
    """Puts the adapter into a transformer, in place, where its weights lie (the meta device too); no more learns.

    Raises ConfigError for a rank below 1.
    """
    if rank < 1:
        raise ConfigError(f"expected a LoRA of rank 1 or more, got {rank}; CLEAR's is 64")
    dit.requires_grad_(False)
    on_meta = dit.patch_embedding.weight.is_meta
    # Alpha equal to the rank: the update is B @ A itself, as the export merges it.
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS)
    inject_adapter_in_model(config, dit, low_cpu_mem_usage=on_meta)
    for name, parameter in dit.named_parameters():
        if is_learned(name):
            # Steps of 1e-4 are lost in bf16, whatever the base is in.
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)


def is_learned(name: str) -> bool:
    """Whether a tensor of an adapted transformer belongs to what Stage II learns."""
    return ".lora_" in name or is_occlusion(name)


def learned_tensors(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of tensors by name those that leave as `adapter.safetensors`, in the names of CLEAR's checkpoint."""
    return {name: tensor for name, tensor in values.items() if is_learned(name)}


def parameters_of(dit: nn.Module) -> tuple[int, int]:
    """Parameters that learn, and all."""
    counts = [(p.numel(), p.requires_grad) for p in dit.parameters()]
    return sum(n for n, learns in counts if learns), sum(n for n, _ in counts)
