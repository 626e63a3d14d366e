"""Adapters merged into the transformer: CLEAR's LoRA, others beside it, an occlusion head if any (reference.md 2)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
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
# The reference takes these out of a key wherever they stand; at its start they are gone by now. A block that was
# compiled by itself has one inside.
_WRAPPERS = re.compile(r"(?<=\.)(?:pipe\.dit|module|_orig_mod)\.")
# What Stage II of CLEAR learns beside the weights; safetensors can hold it only as a tensor.
_TRAINER = frozenset({"temporal_loss_weight"})


@dataclass(frozen=True, slots=True)
class Merged:
    """What an adapter changed: how many linears, by updates of which rank, and whether it brought an occlusion head."""

    linears: int
    rank: int
    occlusion: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """Stored names of an adapter's tensors: what replaces a tensor of the model, and the factors A and B by linear."""

    head: dict[str, Tensor]
    pairs: dict[str, tuple[str, str]]
    merged: Merged


def has_occlusion(checkpoint: Checkpoint) -> bool:
    """Whether it holds tensors of the occlusion head, original names: then the model's config needs `occlusion`."""
    return any(is_occlusion(_unwrapped(name)) for name in checkpoint)


def merge_adapters(dit: Dit, adapters: Sequence[tuple[Checkpoint, float]]) -> tuple[Merged, ...]:
    """Adds the sum of lora_scale * (B @ A) over all adapters to every linear they name, in fp32, then rounds once.

    In place; biases stay. Ranks and linears may differ from adapter to adapter. An occlusion head in one of them
    replaces the model's. Raises WeightsError, before any weight is changed, for an unknown name, half a pair, a linear
    that some blocks lack, unequal ranks in one adapter, a wrong shape, a second occlusion head, or one that is
    incomplete or that the model has no place for; ConfigError for a scale that is no number.
    """
    for _, lora_scale in adapters:
        if not isfinite(lora_scale):
            raise ConfigError(f"lora_scale must be a finite number, got {lora_scale}")
    plans = _planned(dit, [checkpoint for checkpoint, _ in adapters])
    updates: dict[str, list[tuple[Checkpoint, float, str, str]]] = defaultdict(list)
    for (checkpoint, lora_scale), plan in zip(adapters, plans, strict=True):
        for target, (down, up) in plan.pairs.items():
            updates[target].append((checkpoint, lora_scale, down, up))
    with torch.no_grad():
        for target, terms in updates.items():
            weight = dit.get_parameter(f"{target}.weight")
            wide = torch.promote_types(weight.dtype, torch.float32)
            total = weight.to(wide)
            for checkpoint, lora_scale, down, up in terms:
                update = checkpoint[up].to(weight.device, wide) @ checkpoint[down].to(weight.device, wide)
                total = total + lora_scale * update
            weight.copy_(total)
        for (checkpoint, _), plan in zip(adapters, plans, strict=True):
            for name, tensor in plan.head.items():
                tensor.copy_(checkpoint[name])
    return tuple(plan.merged for plan in plans)


def check_adapters(config: DitConfig, checkpoints: Sequence[Checkpoint]) -> tuple[Merged, ...]:
    """What merging would change in a model of these sizes, without a model. Raises WeightsError as `merge_adapters`."""
    with torch.device("meta"):
        dit = Dit(config)
    return tuple(plan.merged for plan in _planned(dit, checkpoints))


def _planned(dit: Dit, checkpoints: Sequence[Checkpoint]) -> list[_Plan]:
    plans = [_plan(dit, checkpoint) for checkpoint in checkpoints]
    heads = [checkpoint.source for checkpoint, plan in zip(checkpoints, plans, strict=True) if plan.head]
    if len(heads) > 1:
        raise WeightsError(
            f"expected an occlusion head in one adapter at most, found one in each of {listed(heads)}; "
            "leave one of them out"
        )
    return plans


def _plan(dit: Dit, checkpoint: Checkpoint) -> _Plan:
    head = _occlusion_targets(dit, checkpoint)
    pairs = _pairs(checkpoint, skipped=head.keys() | _TRAINER)
    rank = _rank(checkpoint, pairs, _linears(dit, checkpoint, pairs))
    return _Plan(head, pairs, Merged(len(pairs), rank, bool(head)))


def _unwrapped(name: str) -> str:
    return _WRAPPERS.sub("", name)


def _occlusion_targets(dit: Dit, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The model's tensors that the adapter replaces, by their stored names."""
    stored = {_unwrapped(name): name for name in checkpoint if is_occlusion(_unwrapped(name))}
    if not stored:
        return {}
    targets = {name: tensor for name, tensor in dit.state_dict().items() if is_occlusion(name)}
    if not targets:
        raise WeightsError(
            f"{checkpoint.source}: expected no occlusion head for a model without one, found {listed([*stored])}; "
            "build the model with occlusion, or use the adapter that belongs to it"
        )
    given = {name: checkpoint.shapes[theirs] for name, theirs in stored.items()}
    check(checkpoint.source, given, {name: tuple(tensor.shape) for name, tensor in targets.items()})
    return {theirs: targets[name] for name, theirs in stored.items()}


def _pairs(checkpoint: Checkpoint, skipped: frozenset[str] | set[str]) -> dict[str, tuple[str, str]]:
    """Names of the factors A, which reads the input, and B by the linear that they belong to."""
    factors: dict[str, dict[str, str]] = defaultdict(dict)
    unknown: list[str] = []
    for name in checkpoint:
        if name in skipped:
            continue
        found = _FACTOR.fullmatch(_unwrapped(name))
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
