"""The trained prior to an ONNX graph and its entry in a bundle's manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from clear_rt.bundle import FORMAT
from clear_rt.errors import BundleError
from clear_rt.export.stored import file_entry, without_origin
from clear_rt.export.to_onnx import traced
from clear_rt.models.prior import MULTIPLE_PX, ConvNorm, PriorGraph, PriorNet

Role = Literal["prior", "outliner"]
# What they are trained on: `training.mix`.
SHORT_SIDES_PX: dict[Role, int] = {"prior": 360, "outliner": 720}
# 3 * 8192 rows or columns at most: 16K pictures are scaled long before they reach the graph.
_MAX_BLOCKS = 1536


def load_prior(checkpoint: Path) -> PriorNet:
    """The running average of a Stage I checkpoint, ready for inference. A tensor missing or left over is an error."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
    prefix = "module.prior."
    net = PriorNet()
    net.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    return net.eval()


def fold_norms(net: PriorNet) -> PriorNet:
    """Batch norms folded into the convolutions before them, in place (exact up to rounding)."""
    for module in net.modules():
        if isinstance(module, ConvNorm):
            convolution, norm = module[0], module[1]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            module[0], module[1] = torch.nn.utils.fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return net


def export_prior(net: PriorNet, target: Path, short_side_px: int) -> dict[str, Any]:
    """Write the graph (rgb uint8 [1, H, W, 3] -> occlusion uint8 [1, H, W]) and return its manifest entry."""
    rows, columns = (torch.export.Dim(axis, min=1, max=_MAX_BLOCKS) for axis in ("rows", "columns"))
    program = traced(
        PriorGraph(fold_norms(net)).eval(),
        (torch.zeros(1, 8 * MULTIPLE_PX, 12 * MULTIPLE_PX, 3, dtype=torch.uint8),),
        ({1: MULTIPLE_PX * rows, 2: MULTIPLE_PX * columns},),
        ["rgb"],
        ["occlusion"],
    )
    without_origin(program)
    program.save(target)
    return file_entry(target) | {
        "short_side_px": short_side_px,
        "multiple_px": MULTIPLE_PX,
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def write_bundle(net: PriorNet, folder: Path, training: dict[str, Any], role: Role = "prior") -> None:
    """Make the bundle `folder` with that prior, or replace the prior or the outliner of the one that is there.

    All else of a bundle stays. `training` is what the network was trained on and measured at. Raises BundleError where
    an outliner is given to a folder without a bundle.
    """
    path = folder / "manifest.json"
    if role == "outliner" and not path.exists():
        raise BundleError(f"{folder} holds no bundle that an outliner could be added to; give one with a prior")
    folder.mkdir(parents=True, exist_ok=True)
    new = {"format": FORMAT, "name": folder.name, "engines": ["onnx"], "prior": {}, "outliner": None, "generator": None}
    manifest = new | (json.loads(path.read_text()) if path.exists() else {})
    manifest[role] = export_prior(net, folder / f"{role}.onnx", SHORT_SIDES_PX[role])
    manifest["training"] = manifest.get("training", {}) | {role: training}
    path.write_text(json.dumps(manifest, indent=2) + "\n")
