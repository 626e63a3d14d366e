"""The context that work happens in: a caller's own, such as pycuda's, or the primary one, which torch and others share.

A stream, an array and a loaded kernel belong to one context. Whatever is made here makes its context current for the
call, and leaves the thread with the one that it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.driver import api, call


@dataclass(frozen=True, slots=True)
class Context:
    """A context by the driver's handle, and the GPU that it is of.

    `ordinal` is the driver's number of the GPU, `capability` 90 for compute capability 9.0, `shared_bytes` what a block
    may have of shared memory if it asks for it.
    """

    handle: int
    ordinal: int
    name: str
    capability: int
    multiprocessors: int
    shared_bytes: int

    @contextmanager
    def current(self) -> Iterator[None]:
        """Inside, it is the one of this thread."""
        call("cuCtxPushCurrent", self.handle)
        try:
            yield
        finally:
            call("cuCtxPopCurrent")


def open_context(given: object | None = None, ordinal: int = 0) -> Context:
    """The context `given`, an integer or an object with a `handle`; else the current one; else the primary one.

    The primary one is that of GPU `ordinal`; it is made current for this thread, and kept until the process ends.
    Raises EngineError where there is no GPU, no such one, or `given` is no context.
    """
    handle = int(call("cuCtxGetCurrent")) if given is None else handle_of(given)
    if not handle:
        handle = int(call("cuDevicePrimaryCtxRetain", call("cuDeviceGet", ordinal)))
        call("cuCtxSetCurrent", handle)
    call("cuCtxPushCurrent", handle)
    try:
        return _described(handle)
    finally:
        call("cuCtxPopCurrent")


def handle_of(given: object) -> int:
    """The driver's handle of a context. Raises EngineError where that is not known."""
    handle = getattr(given, "handle", given)
    if isinstance(handle, int):
        return handle
    try:
        return int(handle)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        raise EngineError(
            f"expected a CUDA context, an integer or an object with a handle, got {type(given).__name__}; "
            "give pycuda's Context itself"
        ) from None


def _described(handle: int) -> Context:
    device = call("cuCtxGetDevice")
    names = api().CUdevice_attribute

    def attribute(name: str) -> int:
        return int(call("cuDeviceGetAttribute", getattr(names, f"CU_DEVICE_ATTRIBUTE_{name}"), device))

    major, minor = (attribute(f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR"))
    name: bytes = call("cuDeviceGetName", 256, device)
    return Context(
        handle=handle,
        ordinal=int(device),
        name=name.split(b"\0")[0].decode(errors="replace"),
        capability=10 * major + minor,
        multiprocessors=attribute("MULTIPROCESSOR_COUNT"),
        shared_bytes=attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
    )
