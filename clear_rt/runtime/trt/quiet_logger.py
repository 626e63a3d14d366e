"""What TensorRT says, kept for a sentence of ours instead of printed."""

from __future__ import annotations

from typing import Any


def quiet_logger(trt: Any) -> Any:  # noqa: ANN401 - a module without types
    """A logger whose `last` is the library's last error on one line. It has to live as long as what logs to it."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._last = "it said nothing"

        @property
        def last(self) -> str:
            return self._last

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            if severity <= trt.ILogger.Severity.ERROR:
                self._last = " ".join(message.split())[:300]

    return Logger()
