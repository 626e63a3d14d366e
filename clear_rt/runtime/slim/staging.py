"""Arrays to the GPU and back through pinned memory, which the GPU copies from and to by itself."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.driver import call
from clear_rt.runtime.slim.dtypes import DTYPES
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.stream import Event, Stream


class Pinned:
    """Memory of the host that stays where it is: `array` of `shape`, in numpy's type for the bits of `dtype`.

    It is freed with the object, so hold that as long as the array. Raises EngineError where the host has no more.
    """

    def __init__(self, context: Context, shape: Sequence[int], dtype: str) -> None:
        kind, count = DTYPES[dtype], prod(shape)
        size_bytes = max(count * kind.itemsize, 1)
        with context.current():
            self.pointer = int(call("cuMemHostAlloc", size_bytes, 0))
        weakref.finalize(self, _free, context, self.pointer)
        held = (ctypes.c_uint8 * size_bytes).from_address(self.pointer)
        self.array: npt.NDArray[Any] = np.frombuffer(memoryview(held), kind.host, count).reshape(shape)


class Staged:
    """An array on the GPU whose memory stays where it is, and its pinned counterpart on the host.

    bf16 is uint16 and E4M3 uint8 on the host, the same bits. Copies run in the order of their stream; the host's side
    is one, so that filling waits until what was filled in before has left.
    """

    def __init__(self, memory: Memory, stream: Stream, shape: Sequence[int], dtype: str) -> None:
        self.device: DeviceArray = memory.zeros(stream, shape, dtype)
        self._pinned = Pinned(memory.context, shape, dtype)
        self._copied = Event(memory.context)

    def fill(self, stream: Stream, array: npt.NDArray[Any]) -> None:
        """Begins to copy an array of this shape to the GPU. Raises ValueError for another shape or type."""
        target = self._pinned.array
        if array.shape != target.shape or array.dtype != target.dtype:
            raise ValueError(f"expected {target.dtype} {[*target.shape]} to stage, got {array.dtype} {[*array.shape]}")
        self._copied.synchronize()
        np.copyto(target, array)
        self._copy(stream, "cuMemcpyHtoDAsync", self.device.pointer, self._pinned.pointer)

    def fetch(self, stream: Stream) -> None:
        """Begins to copy what the GPU has, once the work before on `stream` is done."""
        self._copied.synchronize()
        self._copy(stream, "cuMemcpyDtoHAsync", self._pinned.pointer, self.device.pointer)

    def array(self) -> npt.NDArray[Any]:
        """What `fetch` brought, when it has; the next `fill` or `fetch` writes over it."""
        self._copied.synchronize()
        return self._pinned.array

    def _copy(self, stream: Stream, function: str, target: int, source: int) -> None:
        if self.device.size:
            with stream.context.current():
                call(function, target, source, self.device.size_bytes, stream.handle)
            self._copied.recorded(stream)


def _free(context: Context, pointer: int) -> None:
    with suppress(EngineError), context.current():
        call("cuMemFreeHost", pointer)
