"""What the driver and operations raise, as errors that name the engine, what it was at, and the setting to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.driver import DriverError

_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"


@contextmanager
def told(what: object) -> Iterator[None]:
    """Raises EngineError, which names `what`, for failures of the driver and contracts that do not hold."""
    try:
        yield
    except DriverError as error:
        if error.code == _OUT_OF_MEMORY:
            raise EngineError(
                f"--engine trt: the GPU's memory does not hold {what} ({error.code}); use a smaller --region, or a "
                "bundle with smaller profiles or shorter windows"
            ) from None
        raise EngineError(f"--engine trt failed on {what}: {error}") from None
    except ValueError as error:
        raise EngineError(
            f"--engine trt failed on {what} ({' '.join(str(error).split())[:160]}); build the bundle again"
        ) from None
