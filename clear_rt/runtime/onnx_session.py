"""Sessions of ONNX Runtime for graphs of a bundle: loaded from verified bytes, checked for what we will feed them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import onnxruntime

from clear_rt.errors import EngineError

# A size that the graph must leave open is None; where it may as well be fixed, it is ANY.
ANY = -1
# Name, element type and sizes.
Tensor = tuple[str, str, tuple[int | None, ...]]


def first_line(error: Exception) -> str:
    """What of an error of ONNX Runtime fits into a sentence."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def open_session(path: Path, graph: bytes, weights: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on the CPU. Weights beside the graph are taken from the folder of `weights` only, which was verified.

    Raises:
        EngineError: the graph cannot be loaded, or keeps weights in a file that no hash covers.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Spinning between pictures takes the core that the decoder and the encoder wait for.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # With an arena per session and planned memory, a 640x360 region with 8 blocks of width 256 took 2.3 GB; with one
    # arena for all, 1.2 GB; without plans, which open sizes make useless, 1.0 GB, as fast.
    _share_one_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    # A graph loaded from bytes may name files of the current folder for its weights, which no hash covers.
    folder = "/dev/null" if weights is None else str(weights.parent.absolute())
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises classes that it does not export
        _refuse(path, error)


@cache
def _share_one_arena() -> None:
    """Makes the arena that sessions share, once per process."""
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, None)


def _refuse(path: Path, error: Exception) -> NoReturn:
    if "external data" in str(error).lower():
        raise EngineError(
            f"{path} keeps weights in another file, which the bundle's hash does not cover; "
            "export it with all weights inside"
        ) from None
    raise EngineError(
        f"ONNX Runtime cannot load {path}: {first_line(error)}; build or fetch the bundle again"
    ) from None


def check_tensors(path: Path, role: str, tensors: list[Any], expected: Sequence[Tensor]) -> None:
    """EngineError unless the graph has exactly the tensors that we feed it or take from it."""
    fits = len(tensors) == len(expected) and all(map(_fits, tensors, expected))
    if not fits:
        raise EngineError(
            f"{path}: expected the {role} {_said(expected)}, found {_said(_found(tensors))}; build the bundle again"
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
