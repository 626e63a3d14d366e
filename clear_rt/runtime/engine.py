"""The protocol that every engine implements, and the choice among them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from clear_rt.bundle import Bundle
from clear_rt.config import EngineName
from clear_rt.errors import EngineError

_WHAT = {"trt": "a TensorRT engine", "cuda": "weights for the cuda engine"}


class Engine(Protocol):
    """Runs the networks of one bundle."""

    name: str

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """rgb uint8 [H, W, 3], H and W multiples of the bundle's -> uint8 [H, W], 255 x subtitle probability."""
        ...


def _way_out(bundle: Bundle) -> str:
    return "use --engine onnx" if "onnx" in bundle.engines else "give a bundle that was built for onnx"


def open_engine(name: EngineName, bundle: Bundle) -> Engine:
    """The engine asked for; `auto` takes what the bundle holds and this machine runs.

    Raises:
        EngineError: the bundle holds nothing for that engine, this version cannot run it, or the graph is none of ours.
    """
    held = ", ".join(bundle.engines)
    if name in _WHAT and name not in bundle.engines:
        raise EngineError(
            f"--engine {name}: bundle {bundle.name} holds {held} only, not {_WHAT[name]}; {_way_out(bundle)}"
        )
    if name in _WHAT:
        raise EngineError(
            f"--engine {name}: bundle {bundle.name} holds {held}, but this version runs onnx only; {_way_out(bundle)}"
        )
    if "onnx" not in bundle.engines:
        raise EngineError(
            f"--engine {name}: this version runs onnx only, and bundle {bundle.name} holds {held}; {_way_out(bundle)}"
        )
    from clear_rt.runtime.onnx import OnnxEngine

    return OnnxEngine(bundle)
