"""TensorRT or TensorRT-RTX, whichever is installed: both have the API that we use.

TensorRT itself could be installed on no machine of ours: what is known of it is its documentation and its bindings.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from typing import Any

from clear_rt.errors import EngineError

_MODULES = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, slots=True)
class Library:
    """`module` is what to import, `cuda` the CUDA it was built for, such as "13"; "" where its name does not say."""

    module: str
    version: str
    cuda: str

    @property
    def is_rtx(self) -> bool:
        return self.module == "tensorrt_rtx"

    @property
    def title(self) -> str:
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"

    def load(self) -> Any:  # noqa: ANN401 - a module without types
        """The module itself, 250 MB of library. Raises EngineError where it cannot be loaded."""
        try:
            return import_module(self.module)
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise EngineError(f"{self.title} is installed but cannot be loaded ({reason}); install it again") from None


def library_found() -> Library | None:
    """The installed one, TensorRT before TensorRT-RTX, without loading it."""
    for module in _MODULES:
        if find_spec(module) is not None:
            names = sorted(packages_distributions().get(module, ()))
            if names:
                cuda = next((part.removeprefix("cu") for name in names for part in _words(name) if _is_cuda(part)), "")
                return Library(module, version(names[0]), cuda)
    return None


def required_library() -> Library:
    """Raises EngineError where neither is installed."""
    library = library_found()
    if library is None:
        raise EngineError(
            "expected TensorRT or TensorRT-RTX for --engine trt, found neither; run pip install 'clear-rt[rtx]' or "
            "'clear-rt[tensorrt]', or use --engine cuda or onnx"
        )
    return library


def _words(name: str) -> list[str]:
    return name.lower().replace("_", "-").split("-")


def _is_cuda(word: str) -> bool:
    return word.startswith("cu") and word[2:].isdigit()
