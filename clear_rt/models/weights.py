"""Strict loading: every tensor of a model from a checkpoint in original or diffusers names, nothing left over.

Source: reference.md 1.2 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from clear_rt.errors import WeightsError
from clear_rt.models import dit_names, vae_names
from clear_rt.models.checkpoint import Checkpoint, open_checkpoint
from clear_rt.models.dit import Dit
from clear_rt.models.dit_config import WAN_FUN_CONTROL, WAN_T2V, DitConfig
from clear_rt.models.vae import Vae
from clear_rt.models.vae_config import VaeConfig

Shapes = Mapping[str, tuple[int, ...]]

_NAMED_AT_MOST = 4
_PATCH = "patch_embedding.weight"
_IMAGE_BRANCHES = ("img_emb.", "condition_embedder.image_embedder.")


def load_dit(files: Path | Sequence[Path], config: DitConfig, dtype: torch.dtype = torch.float32) -> Dit:
    """The transformer with the weights of one file or of its shards, in `dtype`, for inference.

    Raises WeightsError as `dit_state` and `open_checkpoint`. Holds the weights once: tensors are read one at a time.
    """
    with torch.device("meta"):
        dit = Dit(config)
    _fill(dit, dit_state(open_checkpoint(files), config), dtype)
    return dit


def load_vae(files: Path | Sequence[Path], config: VaeConfig, dtype: torch.dtype = torch.float32) -> Vae:
    """The VAE with the weights of a file, in `dtype`, for inference. Raises WeightsError as `vae_state`."""
    with torch.device("meta"):
        vae = Vae(config)
    _fill(vae, vae_state(open_checkpoint(files), config), dtype)
    return vae


def dit_state(checkpoint: Checkpoint, config: DitConfig) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the transformer by its original name, as it is stored, read when its turn comes.

    Zeros stand for `ref_conv` where diffusers' names are used, which lack it (it is never run), and for the whole
    occlusion head of a base model without one (which is exactly plain attention). Raises WeightsError at once, before
    the first tensor, where one is missing, unexpected or wrongly shaped, and for the wrong base model.
    """
    shapes, found = dit_names.dit_shapes(config), checkpoint.shapes
    _refuse_text_to_video(checkpoint, config)
    theirs = naming(found, shapes, dit_names.diffusers_names(config))
    optional = [{name for name in shapes if dit_names.is_occlusion(name)}]
    if any(name != stored for name, stored in theirs.items()):
        optional.append({name for name in shapes if name.startswith(dit_names.REF_CONV)})
    absent = {name for group in optional if not any(theirs[n] in found for n in group) for name in group}
    check(checkpoint.source, found, {theirs[name]: shape for name, shape in shapes.items() if name not in absent})
    return _read(checkpoint, shapes, theirs, absent)


def vae_state(checkpoint: Checkpoint, config: VaeConfig) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the VAE by its original name, as `dit_state`."""
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Vae(config).state_dict().items()}
    theirs = naming(checkpoint.shapes, shapes, vae_names.diffusers_names(config))
    check(checkpoint.source, checkpoint.shapes, {theirs[name]: shape for name, shape in shapes.items()})
    return _read(checkpoint, shapes, theirs, set())


def naming(found: Iterable[str], original: Iterable[str], diffusers: Mapping[str, str]) -> dict[str, str]:
    """The stored name for every original one: diffusers' names where more of those are found, else the same."""
    names = set(found)
    if len(names & set(diffusers.values())) > len(names & set(original)):
        return dict(diffusers)
    return {name: name for name in original}


def check(source: str, found: Shapes, expected: Shapes) -> None:
    """Raises WeightsError that names the first missing, unexpected and wrongly shaped tensors and counts the others."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    wrong = [
        f"{name} of {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    faults = [("missing", missing), ("unexpected", unexpected), ("wrongly shaped", wrong)]
    said = [f"{len(names)} {fault} ({listed(names)})" for fault, names in faults if names]
    if said:
        raise WeightsError(
            f"{source}: expected exactly {len(expected)} tensors in the sizes configured, found {', '.join(said)}; "
            "see that file and configuration belong to one model"
        )


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:_NAMED_AT_MOST])
    return shown if len(names) <= _NAMED_AT_MOST else f"{shown} and {len(names) - _NAMED_AT_MOST} more"


def _refuse_text_to_video(checkpoint: Checkpoint, config: DitConfig) -> None:
    """CLEAR's README downloads Wan2.1-T2V-1.3B, which its code cannot use (reference.md 11.6)."""
    found = checkpoint.shapes
    patch = found.get(_PATCH, ())
    has_image = any(name.startswith(_IMAGE_BRANCHES) for name in found)
    if config.slots == 1 or len(patch) < 2 or patch[1] != config.latent_channels or has_image:
        return
    model = "Wan2.1-T2V-1.3B" if patch[0] == WAN_T2V.width else f"a text-to-video model {patch[0]} wide"
    wanted = (
        "Wan2.1-Fun-V1.1-1.3B-Control"
        if config.width == WAN_FUN_CONTROL.width
        else f"a control model {config.width} wide"
    )
    raise WeightsError(
        f"{checkpoint.source}: expected {wanted} ({config.slots * config.latent_channels} input channels, an image "
        f"branch), found {model} ({patch[1]} input channels, no image branch), which takes no control video; "
        f"use {wanted} instead"
    )


def _read(
    checkpoint: Checkpoint, shapes: Shapes, theirs: Mapping[str, str], absent: set[str]
) -> Iterator[tuple[str, Tensor]]:
    for name, shape in shapes.items():
        yield name, torch.zeros(shape) if name in absent else checkpoint[theirs[name]].detach()


def _fill(model: torch.nn.Module, state: Iterable[tuple[str, Tensor]], dtype: torch.dtype) -> None:
    # Copies, one by one: a tensor that stayed in the mapped file would change or crash with the file.
    copied = {name: tensor.to(dtype, copy=True, memory_format=torch.contiguous_format) for name, tensor in state}
    model.load_state_dict(copied, strict=True, assign=True)
    model.eval().requires_grad_(False)
