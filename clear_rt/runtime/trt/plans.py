"""TensorRT's engines of a bundle on a GPU, through the part of the API that TensorRT and TensorRT-RTX share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clear_rt.errors import EngineError
from clear_rt.plans import PlansSpec
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.stream import Stream
from clear_rt.runtime.trt.executable import Shapes
from clear_rt.runtime.trt.failures import told
from clear_rt.runtime.trt.plan_context import PlanContext
from clear_rt.runtime.trt.plan_engine import PlanEngine
from clear_rt.runtime.trt.quiet_logger import quiet_logger
from clear_rt.runtime.trt_library import Library


class OpenedPlans:
    """As `Networks`, of the engines of these roles: loaded at once, for work on `stream`.

    Raises EngineError where the library cannot be loaded, or does not take the GPU or an engine.
    """

    def __init__(
        self, plans: PlansSpec, roles: Sequence[str], library: Library, memory: Memory, stream: Stream
    ) -> None:
        self._stream, self._library = stream, library
        with stream.context.current(), told("engines"):
            trt = library.load()
            self._logger = quiet_logger(trt)
            runtime = _runtime(trt, self._logger, library)
            self._engines = {role: PlanEngine(trt, runtime, self._logger, plans, role) for role in roles}
            most_bytes = max((engine.activation_bytes for engine in self._engines.values()), default=0)
            self._activations = memory.empty(stream, (most_bytes,), "u8")

    def takes(self, role: str, shapes: Shapes) -> bool:
        """As `Networks.takes`."""
        return self._engines[role].profile_of(shapes) is not None

    def opened(self, role: str, shapes: Shapes) -> PlanContext:
        """As `Networks.opened`."""
        with self._stream.context.current():
            return self._engines[role].opened(shapes, self._stream, self._activations, eager=self._library.is_rtx)


def _runtime(trt: Any, logger: Any, library: Library) -> Any:  # noqa: ANN401
    try:
        return trt.Runtime(logger)
    except TypeError:
        # What its bindings raise where the library gives none.
        raise EngineError(
            f"{library.title} does not take this GPU ({logger.last}); use --engine cuda or onnx"
        ) from None
