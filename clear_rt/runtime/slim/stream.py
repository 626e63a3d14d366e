"""Streams, our own and a caller's as they are, and events between them."""

from __future__ import annotations

import weakref
from contextlib import suppress

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.driver import api, call


class Stream:
    """A stream of `context` by the driver's handle; `owner` is what must live as long. Made by the functions below."""

    def __init__(self, context: Context, handle: int, owner: object = None) -> None:
        self.context, self.handle, self._owner = context, handle, owner
        self.is_capturing = False

    def __cuda_stream__(self) -> tuple[int, int]:
        """The protocol by which cuda.core, cupy and others take a stream."""
        return 0, self.handle

    def synchronize(self) -> None:
        """Returns when the work so far is done."""
        with self.context.current():
            call("cuStreamSynchronize", self.handle)

    def wait_for(self, other: Stream | Event) -> None:
        """What comes here from now on begins when the work so far on another stream, or at an event, is done."""
        if isinstance(other, Stream):
            if (other.handle, other.context.handle) == (self.handle, self.context.handle):
                return
            other = Event(other.context).recorded(other)
        with self.context.current():
            call("cuStreamWaitEvent", self.handle, other.handle, 0)


class Event:
    """A point in a stream's work. With `timed` the time between two of them can be asked."""

    def __init__(self, context: Context, *, timed: bool = False) -> None:
        self.context = context
        flags = api().CUevent_flags
        with context.current():
            kind = flags.CU_EVENT_DEFAULT if timed else flags.CU_EVENT_DISABLE_TIMING
            self.handle = int(call("cuEventCreate", int(kind)))
        weakref.finalize(self, _destroy, context, "cuEventDestroy", self.handle)

    def recorded(self, stream: Stream) -> Event:
        """Itself, at the end of the stream's work so far."""
        with self.context.current():
            call("cuEventRecord", self.handle, stream.handle)
        return self

    def synchronize(self) -> None:
        """Returns when the work before it is done; at once where it was never recorded."""
        with self.context.current():
            call("cuEventSynchronize", self.handle)

    def milliseconds_since(self, earlier: Event) -> float:
        """Between two `timed` events whose work is done."""
        with self.context.current():
            return float(call("cuEventElapsedTime", earlier.handle, self.handle))


def new_stream(context: Context) -> Stream:
    """A stream of our own, which does not wait for the legacy default stream."""
    with context.current():
        handle = int(call("cuStreamCreate", int(api().CUstream_flags.CU_STREAM_NON_BLOCKING)))
    stream = Stream(context, handle)
    weakref.finalize(stream, _destroy, context, "cuStreamDestroy", handle)
    return stream


def wrapped_stream(context: Context, given: object | None) -> Stream:
    """A caller's stream of `context`: ours, one with `__cuda_stream__`, pycuda's, an integer; None is the default one.

    Raises EngineError where it is none of these.
    """
    if isinstance(given, Stream):
        return given
    return Stream(context, 0 if given is None else _handle(given), given)


def _handle(given: object) -> int:
    if hasattr(given, "__cuda_stream__"):
        return int(given.__cuda_stream__()[1])
    # pycuda has `handle`, cupy `ptr`, torch `cuda_stream`.
    found = next((getattr(given, name) for name in ("handle", "ptr", "cuda_stream") if hasattr(given, name)), given)
    try:
        return int(found)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        raise EngineError(
            "expected a CUDA stream, an integer or an object with __cuda_stream__ or a handle, "
            f"got {type(given).__name__}; give the stream itself"
        ) from None


def _destroy(context: Context, function: str, handle: int) -> None:
    # A caller may have destroyed the context before us, and all that was in it.
    with suppress(EngineError), context.current():
        call(function, handle)
