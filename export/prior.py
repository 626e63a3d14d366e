"""The trained prior to an ONNX graph and its entry in a bundle's manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clear_rt.bundle import FORMAT
from clear_rt.export.stored import file_entry, without_origin
from clear_rt.export.to_onnx import traced
from clear_rt.models.prior import MULTIPLE_PX, ConvNorm, PriorGraph, PriorNet

# What it is trained on: `training.mix`.
SHORT_SIDE_PX, OUTLINE_SIDE_PX = 360, 720
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


def export_prior(net: PriorNet, target: Path) -> dict[str, Any]:
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
        "short_side_px": SHORT_SIDE_PX,
        "outline_side_px": OUTLINE_SIDE_PX,
        "multiple_px": MULTIPLE_PX,
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def write_bundle(net: PriorNet, folder: Path, training: dict[str, Any]) -> None:
    """Make the bundle `folder`, or replace the prior of the one that is there, whose generator stays.

    `training` is what the prior was trained on and measured at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    told = before.get("training", {})
    manifest = {"format": FORMAT, "name": folder.name, "engines": ["onnx"]} | before
    manifest["prior"] = export_prior(net, folder / "prior.onnx")
    manifest.setdefault("generator", None)
    manifest["training"] = {"prior": training} | {name: told[name] for name in ("generator",) if name in told}
    path.write_text(json.dumps(manifest, indent=2) + "\n")
