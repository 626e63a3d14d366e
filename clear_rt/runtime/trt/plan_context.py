"""An execution context of TensorRT: a network with its arrays, set once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.stream import Stream
from clear_rt.runtime.trt.executable import Form, check_bound


class PlanContext:
    """As `Executable`. `owner` is what must live as long as the context."""

    def __init__(
        self,
        role: str,
        context: Any,  # noqa: ANN401 - a class of the library
        given: Mapping[str, Form],
        made: Mapping[str, Form],
        logger: Any,  # noqa: ANN401
        owner: object,
    ) -> None:
        self.given, self.made = given, made
        self._role, self._context, self._logger, self._owner = role, context, logger, owner
        self._arrays: Mapping[str, DeviceArray] = {}

    def bind(self, arrays: Mapping[str, DeviceArray]) -> None:
        """As `Executable.bind`."""
        check_bound(self._role, self, arrays)
        self._arrays = dict(arrays)
        for name, array in arrays.items():
            with array.stream.context.current():
                taken = self._context.set_tensor_address(name, array.pointer)
            if not taken:
                raise self._failure(f"take {name}")

    def run(self, stream: Stream) -> None:
        """As `Executable.run`."""
        # TensorRT-RTX knows beforehand; TensorRT fails when it is captured.
        knows = getattr(self._context, "is_stream_capturable", None)
        if stream.is_capturing and knows is not None and not knows(stream.handle):
            raise EngineError(f"TensorRT does not let the engine {self._role} be captured")
        with stream.context.current():
            if not self._context.execute_async_v3(stream.handle):
                raise self._failure("run")

    def _failure(self, what: str) -> EngineError:
        return EngineError(
            f"TensorRT cannot {what} in the engine {self._role} ({self._logger.last}); use --engine cuda or onnx"
        )
