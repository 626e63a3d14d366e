"""The packages of the [eval] extra, imported when first needed."""

from __future__ import annotations

from typing import Any

from clear_rt.errors import ConfigError


def _missing(package: str) -> ConfigError:
    return ConfigError(f"evaluation needs {package}, which is not installed; run pip install 'clear-rt[eval]'")


def opencv() -> Any:  # noqa: ANN401 - a module without usable stubs
    """The module cv2. Raises ConfigError where it is missing."""
    try:
        import cv2
    except ImportError as error:
        raise _missing("OpenCV") from error
    return cv2


def rapidocr() -> Any:  # noqa: ANN401 - a module without stubs
    """The module rapidocr_onnxruntime. Raises ConfigError where it is missing."""
    try:
        import rapidocr_onnxruntime
    except ImportError as error:
        raise _missing("rapidocr-onnxruntime") from error
    return rapidocr_onnxruntime
