"""Adapters merged into the transformer: CLEAR's LoRA, and an occlusion head where there is one (reference.md 2)."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from clear_rt.errors import ConfigError, WeightsError
from clear_rt.models.checkpoint import Checkpoint
from clear_rt.models.dit import Dit
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.dit_names import is_occlusion
from clear_rt.models.weights import check, listed

# peft puts the adapter's name, "default", into the keys of an injected model and leaves it out of files of its own.
_FACTOR = re.compile(r"(?P<target>blocks\.\d+\..+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")
# What Stage II of CLEAR learns beside the weights; safetensors can hold it only as a tensor.
_TRAINER = frozenset({"temporal_loss_weight"})


@dataclass(frozen=True, slots=True)
class Merged:
    """What an adapter changed: how many linears, by updates of which rank, and whether it brought an occlusion head."""

    linears: int
    rank: int
    occlusion: bool


def has_occlusion(checkpoint: Checkpoint) -> bool:
    """Whether it holds tensors of the occlusion head, original names: then the model's config needs `occlusion`."""
    return any(is_occlusion(name) for name in checkpoint)


def merge_adapter(dit: Dit, checkpoint: Checkpoint, lora_scale: float = 1.0) -> Merged:
    """Adds lora_scale * (B @ A) to the weight of every linear that the adapter names, in fp32, then rounds to its type.

    In place; biases stay. An occlusion head in the adapter replaces the model's. Raises WeightsError, before any weight
    is changed, for an unknown name, half a pair, a linear that some blocks lack, unequal ranks, a wrong shape, or an
    occlusion head that is incomplete or that the model has no place for; ConfigError for a scale that is no number.
    """
    if not isfinite(lora_scale):
        raise ConfigError(f"lora_scale must be a finite number, got {lora_scale}")
    head, pairs, merged = _planned(dit, checkpoint)
    with torch.no_grad():
        for target, (down, up) in pairs.items():
            weight = dit.get_parameter(f"{target}.weight")
            wide = torch.promote_types(weight.dtype, torch.float32)
            update = checkpoint[up].to(weight.device, wide) @ checkpoint[down].to(weight.device, wide)
            weight.copy_(weight.to(wide) + lora_scale * update)
        for name, tensor in head.items():
            tensor.copy_(checkpoint[name])
    return merged


def check_adapter(config: DitConfig, checkpoint: Checkpoint) -> Merged:
    """What merging would change in a model of these sizes, without a model. Raises WeightsError as `merge_adapter`."""
    with torch.device("meta"):
        return _planned(Dit(config), checkpoint)[2]


def _planned(dit: Dit, checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, tuple[str, str]], Merged]:
    """The tensors that the adapter replaces, the names of its factors by linear, and both in numbers."""
    head = _occlusion_targets(dit, checkpoint)
    pairs = _pairs(checkpoint, skipped=head.keys() | _TRAINER)
    rank = _rank(checkpoint, pairs, _linears(dit, checkpoint, pairs))
    return head, pairs, Merged(len(pairs), rank, bool(head))


def _occlusion_targets(dit: Dit, checkpoint: Checkpoint) -> dict[str, Tensor]:
    given = {name: shape for name, shape in checkpoint.shapes.items() if is_occlusion(name)}
    if not given:
        return {}
    targets = {name: tensor for name, tensor in dit.state_dict().items() if is_occlusion(name)}
    if not targets:
        raise WeightsError(
            f"{checkpoint.source}: expected no occlusion head for a model without one, found {listed([*given])}; "
            "build the model with occlusion, or use the adapter that belongs to it"
        )
    check(checkpoint.source, given, {name: tuple(tensor.shape) for name, tensor in targets.items()})
    return targets


def _pairs(checkpoint: Checkpoint, skipped: frozenset[str] | set[str]) -> dict[str, tuple[str, str]]:
    """Names of the factors A, which reads the input, and B by the linear that they belong to."""
    factors: dict[str, dict[str, str]] = defaultdict(dict)
    unknown: list[str] = []
    for name in checkpoint:
        if name in skipped:
            continue
        found = _FACTOR.fullmatch(name)
        if found is None:
            unknown.append(name)
        elif found["side"] in factors[found["target"]]:
            raise WeightsError(f"{checkpoint.source}: {name} is there under two names; use the file as it was trained")
        else:
            factors[found["target"]][found["side"]] = name
    if unknown or not factors:
        raise WeightsError(
            f"{checkpoint.source}: expected blocks.N.LINEAR.lora_A.default.weight and lora_B of a LoRA adapter, found "
            f"{listed(unknown) if unknown else 'none'}; give a CLEAR checkpoint here"
        )
    halves = [target for target, sides in factors.items() if len(sides) < 2]
    if halves:
        raise WeightsError(
            f"{checkpoint.source}: expected lora_A and lora_B for every linear, found only one for {listed(halves)}; "
            "fetch the file again"
        )
    return {target: (sides["A"], sides["B"]) for target, sides in factors.items()}


def _linears(dit: Dit, checkpoint: Checkpoint, pairs: dict[str, tuple[str, str]]) -> dict[str, nn.Linear]:
    """The linears to change. An adapter may leave kinds of them out, but what it has it must have in every block."""
    linears = {name: module for name, module in dit.named_modules() if isinstance(module, nn.Linear)}
    lost = [target for target in pairs if target not in linears]
    if lost:
        raise WeightsError(
            f"{checkpoint.source}: expected adapters of linears of the model, found {listed(lost)}, which it lacks; "
            "use the base model that the adapter was trained on"
        )
    places = sorted({target.split(".", 2)[2] for target in pairs})
    wanted = [f"blocks.{i}.{place}" for i in range(dit.config.layers) for place in places]
    missing = [target for target in wanted if target not in pairs]
    if missing:
        raise WeightsError(
            f"{checkpoint.source}: expected {', '.join(places)} in each of {dit.config.layers} blocks, found nothing "
            f"for {listed(missing)}; fetch the file again"
        )
    return {target: linears[target] for target in pairs}


def _rank(checkpoint: Checkpoint, pairs: dict[str, tuple[str, str]], linears: dict[str, nn.Linear]) -> int:
    shapes = checkpoint.shapes
    first = next(iter(pairs.values()))[0]
    rank = shapes[first][0] if shapes[first] else 0
    if rank < 1:
        raise WeightsError(
            f"{checkpoint.source}: expected an adapter of rank 1 or more, found {first} empty; fetch it again"
        )
    expected: dict[str, tuple[int, ...]] = {}
    for target, (down, up) in pairs.items():
        linear = linears[target]
        expected |= {down: (rank, linear.in_features), up: (linear.out_features, rank)}
    check(f"{checkpoint.source}, of rank {rank} by {first}", {name: shapes[name] for name in expected}, expected)
    return rank
