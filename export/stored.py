"""Graphs and weights as files of a bundle, and how its manifest names them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from clear_rt.export.config import Store
from clear_rt.export.halves import halve_state

# A graph with its weights inside ends at 2 GB, protobuf's limit.
_INSIDE_BYTES = 1 << 30


class Stored:
    """What was written into a folder so far. `graphs`, `weights` and `models` are entries of a manifest's generator."""

    def __init__(self, folder: Path, store: Store = "fp32") -> None:
        self._folder, self._halves = folder, store == "fp16"
        self.graphs: dict[str, Any] = {}
        self.weights: dict[str, Any] = {}
        self.models: dict[str, Any] = {}

    def add_graph(self, role: str, program: torch.onnx.ONNXProgram) -> None:
        """One ONNX graph, with its weights in a file beside it where they would make it too large."""
        path = self._folder / f"{role}.onnx"
        if self._halves:
            # onnx_ir comes with onnxscript, which bundles without graphs are exported without.
            from clear_rt.export.halves_graph import halve_graph

            halve_graph(program.model)
        beside = save_graph(program, path)
        self.graphs[role] = file_entry(path) | {"data": None if beside is None else file_entry(beside)}

    def add_weights(self, part: str, state: Mapping[str, Tensor], sizes: dict[str, Any]) -> None:
        """The tensors of one model as safetensors, and its sizes."""
        path = self._folder / f"{part}.safetensors"
        try:
            tensors = halve_state(state) if self._halves else state
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        except SafetensorError as error:
            raise OSError(None, str(error)) from None
        # safetensors makes files that only their owner may read; whoever may read the graphs may read these.
        path.chmod(0o644)
        self.weights[part] = file_entry(path)
        self.models[part] = sizes


def save_graph(program: torch.onnx.ONNXProgram, path: Path) -> Path | None:
    """Writes a graph without its origin; returns the file beside it with its weights, where there has to be one."""
    without_origin(program)
    size_bytes = sum(value.const_value.nbytes for value in _initializers(program))
    program.save(path, external_data=size_bytes >= _INSIDE_BYTES)
    beside = path.with_name(f"{path.name}.data")
    return beside if beside.exists() else None


def file_entry(path: Path) -> dict[str, str]:
    """Name and hash of a file as a manifest holds them."""
    with path.open("rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def without_origin(program: torch.onnx.ONNXProgram) -> None:
    """Take out where in the source everything comes from: paths of the machine, and sets in an order of their own."""
    for part in (program.model, program.model.graph):
        part.metadata_props.clear()
        part.doc_string = None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None


def _initializers(program: torch.onnx.ONNXProgram) -> list[Any]:
    return [value for value in program.model.graph.initializers.values() if value.const_value is not None]
