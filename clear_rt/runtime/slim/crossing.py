"""Arrays of the host to the GPU and back, through pinned memory that waits for the next array of its size."""

from __future__ import annotations

import weakref
from collections import deque
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.copies import copy
from clear_rt.runtime.slim.driver import call
from clear_rt.runtime.slim.dtypes import DTYPES, named
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.staging import Pinned
from clear_rt.runtime.slim.stream import Event, Stream

# Pinned memory of a size that is in use is asked for again with the next frame.
MOST_WAITING = 16


class Crossing:
    """May be used by several threads; each array has pinned memory to itself while it crosses."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._lock = memory, Lock()
        self._waiting: list[_Place] = []
        # The collector may add to it at any time, also while this thread holds the lock.
        self._returned: deque[_Place] = deque()

    def buffer(self, size_bytes: int) -> Buffer:
        """Memory for the caller alone, until he forgets it."""
        with self._lock:
            while self._returned:
                self._waiting.append(self._returned.popleft())
            place = next((place for place in self._waiting if place.size_bytes == size_bytes), None)
            if place is not None:
                self._waiting.remove(place)
            while len(self._waiting) > MOST_WAITING:
                self._waiting.pop(0).done.synchronize()
        if place is not None:
            # Whoever had it before may have forgotten it in the middle of a copy.
            place.done.synchronize()
        buffer = Buffer(place or _Place(self._memory.context, size_bytes))
        weakref.finalize(buffer, self._returned.append, buffer.place)
        return buffer

    def to_device(self, stream: Stream, array: npt.NDArray[Any]) -> DeviceArray:
        """A copy of `array`, in its own type, for work on `stream`."""
        there = self._memory.empty(stream, array.shape, named(array.dtype))
        if array.size:
            buffer = self.buffer(array.nbytes)
            np.copyto(buffer.array.view(array.dtype).reshape(array.shape), array)
            buffer.send(stream, there)
        return there

    def to_host(self, stream: Stream, array: DeviceArray) -> npt.NDArray[Any]:
        """A copy in numpy's type of the same bits, once the work before on `stream` is done."""
        made: npt.NDArray[Any] = np.empty(array.shape, DTYPES[array.dtype].host)
        if array.size:
            dense = array
            if not array.is_dense:
                dense = self._memory.empty(stream, array.shape, array.dtype)
                copy(stream, dense, array)
            buffer = self.buffer(made.nbytes)
            buffer.fetch(stream, dense)
            np.copyto(made, buffer.array.view(made.dtype).reshape(made.shape))
        return made


class Buffer:
    """uint8 [size_bytes] of the host that the GPU copies from and to."""

    def __init__(self, place: _Place) -> None:
        self.place = place

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """The memory itself, once copies from it and to it are done; it is lent as long as this object lives."""
        self.place.done.synchronize()
        return self.place.pinned.array

    def send(self, stream: Stream, target: DeviceArray) -> None:
        """Begins to copy as many bytes as `target` has, which lie without gaps there."""
        self._copy(stream, "cuMemcpyHtoDAsync", target.pointer, self.place.pinned.pointer, target.size_bytes)

    def fetch(self, stream: Stream, source: DeviceArray) -> None:
        """Begins to copy all of `source`, which lies without gaps there."""
        self._copy(stream, "cuMemcpyDtoHAsync", self.place.pinned.pointer, source.pointer, source.size_bytes)

    def _copy(self, stream: Stream, function: str, target: int, source: int, size_bytes: int) -> None:
        with stream.context.current():
            call(function, target, source, size_bytes, stream.handle)
        self.place.done.recorded(stream)


class _Place:
    """Pinned memory, and when the GPU is done with it."""

    def __init__(self, context: Context, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.pinned, self.done = Pinned(context, (size_bytes,), "u8"), Event(context)
