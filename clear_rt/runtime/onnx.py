"""The `onnx` engine: ONNX Runtime on the CPU, what every machine can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from clear_rt.bundle import Bundle, PriorSpec
from clear_rt.errors import EngineError

# Name, element type, and sizes with None where the graph may leave the size open.
_Tensor = tuple[str, str, tuple[int | None, ...]]
_INPUT: _Tensor = ("rgb", "tensor(uint8)", (1, None, None, 3))
_OUTPUT: _Tensor = ("occlusion", "tensor(uint8)", (1, None, None))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Spinning between pictures takes the core that the decoder and the encoder wait for.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A graph loaded from bytes may name files of the current folder for its weights, which no hash covers.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/dev/null")
    return options


def _session(prior: PriorSpec) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(prior.graph, _options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises classes that it does not export
        if "external data" in str(error).lower():
            raise EngineError(
                f"{prior.path} keeps weights in another file, which the bundle's hash does not cover; "
                "export it with all weights inside"
            ) from None
        raise EngineError(
            f"ONNX Runtime cannot load {prior.path}: {_first_line(error)}; build or fetch the bundle again"
        ) from None


def _fits(tensor: Any, expected: _Tensor) -> bool:  # noqa: ANN401 - a class that ONNX Runtime does not export
    name, element, sizes = expected
    # An open size has a name or None instead of a number; a fixed one fits only where we always give that number.
    return (
        (tensor.name, tensor.type, len(tensor.shape)) == (name, element, len(sizes))
        and all(found == size or (not isinstance(found, int)) for found, size in zip(tensor.shape, sizes, strict=True))
    )  # fmt: skip


def _said(tensors: list[_Tensor]) -> str:
    described = (
        f"{name} {kind} [{', '.join('any' if s is None else str(s) for s in sizes)}]" for name, kind, sizes in tensors
    )
    return " and ".join(described) or "nothing"


def _found(tensors: list[Any]) -> list[_Tensor]:
    return [(t.name, t.type, tuple(s if isinstance(s, int) else None for s in t.shape)) for t in tensors]


def _check(path: Path, role: str, tensors: list[Any], expected: _Tensor) -> None:
    if len(tensors) != 1 or not _fits(tensors[0], expected):
        raise EngineError(
            f"{path}: expected the {role} {_said([expected])}, found {_said(_found(tensors))}; build the bundle again"
        )


class OnnxEngine:
    """One session per graph of the bundle, created once.

    Raises:
        EngineError: the graph cannot be loaded, keeps weights elsewhere, or has other inputs or outputs than expected.
    """

    name = "onnx"

    def __init__(self, bundle: Bundle) -> None:
        self._path = bundle.prior.path
        self._prior = _session(bundle.prior)
        _check(self._path, "input", self._prior.get_inputs(), _INPUT)
        _check(self._path, "output", self._prior.get_outputs(), _OUTPUT)

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`. Raises EngineError where the graph fails or answers in another size."""
        try:
            result: npt.NDArray[np.uint8] = self._prior.run([_OUTPUT[0]], {_INPUT[0]: rgb[None]})[0][0]
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises classes that it does not export
            raise EngineError(
                f"{self._path} failed on a picture of {rgb.shape[1]}x{rgb.shape[0]}: {_first_line(error)}; "
                "build or fetch the bundle again"
            ) from None
        if result.shape != rgb.shape[:2]:
            raise EngineError(
                f"{self._path}: expected a map of {rgb.shape[1]}x{rgb.shape[0]}, found "
                f"{'x'.join(map(str, reversed(result.shape)))}; build the bundle again"
            )
        return result
