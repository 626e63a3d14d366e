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


def open_engine(name: EngineName, bundle: Bundle) -> Engine:
    """The engine asked for; `auto` takes what the bundle holds and this machine runs.

    Raises:
        EngineError: the bundle holds nothing for that engine, or its library is missing.
    """
    if name in _WHAT and name not in bundle.engines:
        raise EngineError(
            f"--engine {name}: bundle {bundle.name} holds {', '.join(bundle.engines)} only, not {_WHAT[name]}; "
            "use --engine onnx, or give a bundle that was built for it"
        )
    if "onnx" not in bundle.engines or name in _WHAT:
        raise EngineError(
            f"bundle {bundle.name} was built for {', '.join(bundle.engines)}, which this version cannot run"
        )
    from clear_rt.runtime.onnx import OnnxEngine

    return OnnxEngine(bundle)
