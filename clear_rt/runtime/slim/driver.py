"""The CUDA driver by cuda-bindings, loaded when it is first called; every failure of it is one EngineError.

Not by cuda.core: its `Device.set_current` makes the primary context current, where a program of pycuda's has one of its
own (cuda.core 1.2.2). What cuda.core makes, streams and buffers, is taken by their protocols like anybody's.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from clear_rt.errors import EngineError

_REMEDIES = {
    "CUDA_ERROR_OUT_OF_MEMORY": "use a smaller --region",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "build the bundle for this GPU",
    "CUDA_ERROR_INVALID_CONTEXT": "make the context of the arrays and streams current",
    "CUDA_ERROR_NO_DEVICE": "use --engine onnx",
}
_REMEDY = "check the driver by nvidia-smi, or use --engine onnx"


class DriverError(EngineError):
    """A call of the driver that failed; `code` is the driver's name of it, such as CUDA_ERROR_OUT_OF_MEMORY."""

    def __init__(self, call: str, code: str) -> None:
        super().__init__(f"expected {call} to succeed, the CUDA driver said {code}; {_REMEDIES.get(code, _REMEDY)}")
        self.code = code


@cache
def api() -> Any:  # noqa: ANN401 - a module without types
    """The module of the driver's functions, initialised. Raises EngineError without cuda-bindings, driver or GPU."""
    try:
        driver = import_module("cuda.bindings.driver")
    except ImportError:
        raise EngineError(
            "expected cuda-bindings to use the GPU, found none; run pip install 'clear-rt[cuda]', or use --engine onnx"
        ) from None
    try:
        (code,) = driver.cuInit(0)
    except RuntimeError as error:
        raise EngineError(
            f"expected an NVIDIA driver, found none ({' '.join(str(error).split())[:120]}); "
            "install one, or use --engine onnx"
        ) from None
    if int(code):
        raise DriverError("cuInit", _name(code))
    return driver


def call(function: str, *arguments: object) -> Any:  # noqa: ANN401 - as the function has it
    """What a function of the driver gives: nothing, one value, or several. Raises DriverError where it fails."""
    driver = api()
    code, *found = getattr(driver, function)(*arguments)
    if int(code):
        raise DriverError(function, _name(code))
    return found[0] if len(found) == 1 else tuple(found) or None


def _name(code: Any) -> str:  # noqa: ANN401 - the driver's
    return getattr(code, "name", None) or f"error {int(code)}"
