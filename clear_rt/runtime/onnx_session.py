"""Sessions of ONNX Runtime for graphs of a bundle: loaded from verified bytes, checked for what we will feed them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from clear_rt.errors import EngineError

# A size that the graph must leave open is None; where it may as well be fixed, it is ANY.
ANY = -1
# Name, element type and sizes.
Tensor = tuple[str, str, tuple[int | None, ...]]
_LOCATION = re.compile(rb"\x0a\x08location\x12(.)", re.DOTALL)
# ONNX Runtime prefixes its messages with where in its own source they come from.
_LONGEST_REASON = 160


def first_line(error: Exception) -> str:
    """What of an error of ONNX Runtime fits into a sentence."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


def open_session(path: Path, graph: bytes, weights: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on the CPU. `weights` is the verified file beside the graph, where it keeps some there.

    Raises:
        EngineError: the graph cannot be loaded, or keeps weights in another file, which no hash covers.
    """
    others = _outside(graph) - {weights.name if weights else ""}
    if others:
        raise EngineError(
            f"{path} keeps weights in {', '.join(sorted(others))}, which the bundle's hashes do not cover; "
            "export it with all weights inside"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Spinning between pictures takes the core that the decoder and the encoder wait for.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # With an arena per session and planned memory, a 640x360 region with 8 blocks of width 256 took 2.3 GB; with one
    # arena for all, 1.2 GB; without plans, which open sizes make useless, 1.0 GB, as fast.
    _share_one_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    # It moves QuantizeLinear of E4M3 past Reshape as if it made uint8: 5 % off where attention's values are quantised.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # Without a folder, a graph loaded from bytes would look for weights in the current one.
    folder = "/dev/null" if weights is None else str(weights.parent.absolute())
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises classes that it does not export
        raise EngineError(
            f"ONNX Runtime cannot load {path}: {first_line(error)}; build or fetch the bundle again"
        ) from None


@cache
def _share_one_arena() -> None:
    """Makes the arena that sessions share, once per process."""
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, None)


def _outside(graph: bytes) -> set[str]:
    """Names of the files in which a graph keeps weights: protobuf's entry of the key "location" and a short text."""
    return {
        graph[found.end() : found.end() + found[1][0]].decode(errors="replace") for found in _LOCATION.finditer(graph)
    }


def check_tensors(path: Path, role: str, tensors: list[Any], expected: Sequence[Tensor]) -> None:
    """EngineError, naming the first that differs, unless the graph has just the tensors that we feed it or take."""
    found = _found(tensors)
    for i in range(max(len(found), len(expected))):
        if i >= len(found) or i >= len(expected) or not _fits(tensors[i], expected[i]):
            place = role if len(expected) == 1 else f"{role} {i + 1} of {len(expected)},"
            raise EngineError(
                f"{path}: expected the {place} {_said(expected[i : i + 1])}, found {_said(found[i : i + 1])}; "
                "build the bundle again"
            )


def _fits(tensor: Any, expected: Tensor) -> bool:  # noqa: ANN401 - a class that ONNX Runtime does not export
    name, element, sizes = expected
    if (tensor.name, tensor.type, len(tensor.shape)) != (name, element, len(sizes)):
        return False
    # An open size has a name or None instead of a number; a fixed one fits only where we always give that number.
    return all(
        want is ANY or not isinstance(found, int) or found == want
        for found, want in zip(tensor.shape, sizes, strict=True)
    )


def _said(tensors: Sequence[Tensor]) -> str:
    described = (
        f"{name} {kind} [{', '.join('any' if s in (None, ANY) else str(s) for s in sizes)}]"
        for name, kind, sizes in tensors
    )
    return " and ".join(described) or "nothing"


def _found(tensors: list[Any]) -> list[Tensor]:
    return [(t.name, t.type, tuple(s if isinstance(s, int) else None for s in t.shape)) for t in tensors]
