"""clear-tiny with plain attention: its occlusion head says the same of all keys, which softmax ignores."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from clear_rt.bundle import Bundle, open_bundle

# The head's last layer, in the names that `export.to_onnx` leaves.
LAST = "occlusion_head.conv2.weight"


def plainly_attending(bundle: Bundle, folder: Path) -> Bundle:
    """A copy of an ONNX bundle in `folder`, which is replaced. Raises RuntimeError where it weighs nothing anyway."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    entry = _entry_of("step.onnx", manifest)
    path = folder / "step.onnx"
    model = onnx.load(str(path))
    found = [one for one in model.graph.initializer if one.name.startswith(LAST)]
    if not found:
        raise RuntimeError(f"{bundle.name} has no occlusion head: its attention is plain")
    for one in found:
        one.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(one)), one.name))
    path.write_bytes(model.SerializeToString())
    entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return open_bundle(folder)


def _entry_of(file: str, part: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """What a manifest says of one file, wherever it stands."""
    for value in part.values() if isinstance(part, dict) else ():
        if isinstance(value, dict):
            if value.get("file") == file:
                return value
            if found := _entry_of(file, value):
                return found
    return {}
