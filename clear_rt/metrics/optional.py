"""The packages that evaluation needs beyond those of the runtime, imported when first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from clear_rt.errors import ConfigError


def _module(name: str, package: str, need: str, extra: str) -> Any:  # noqa: ANN401 - a module without usable stubs
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{need} needs {package}, which is not installed; run pip install 'clear-rt[{extra}]'"
        ) from error


def rapidocr() -> Any:  # noqa: ANN401 - a module without stubs
    """The module rapidocr_onnxruntime. Raises ConfigError where it is missing."""
    return _module("rapidocr_onnxruntime", "rapidocr-onnxruntime", "evaluation", "eval")


def pillow() -> tuple[Any, Any]:
    """The modules PIL.Image and PIL.ImageDraw. Raises ConfigError where they are missing."""
    image, draw = (_module(f"PIL.{name}", "Pillow", "--sheet", "eval") for name in ("Image", "ImageDraw"))
    return image, draw


def check_networks(need: str) -> None:
    """Raises ConfigError where torch or safetensors is missing, for the option `need`."""
    for package in ("torch", "safetensors"):
        _module(package, package, need, "train")
