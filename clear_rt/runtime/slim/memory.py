"""The GPU's memory from a pool of our own, ordered by streams: what is freed on a stream is at hand for its next work.

A caller's pools stay as they are, and what we use can be told apart from what he does.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import prod

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.arrays import DeviceArray, dense_strides
from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.driver import api, call
from clear_rt.runtime.slim.dtypes import DTYPES
from clear_rt.runtime.slim.stream import Stream


class Memory:
    """A pool on the GPU of `context`; it gives memory back to the GPU when it goes itself, not before.

    Raises EngineError where the GPU has no pools.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        driver = api()
        properties = driver.CUmemPoolProps()
        properties.allocType = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
        properties.handleTypes = driver.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_NONE
        properties.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        properties.location.id = context.ordinal
        with context.current():
            self._pool = call("cuMemPoolCreate", properties)
            # By default it would give everything back whenever a stream is waited for.
            threshold = driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
            call("cuMemPoolSetAttribute", self._pool, threshold, driver.cuuint64_t(2**64 - 1))
        weakref.finalize(self, _destroy_pool, context, self._pool)

    def empty(self, stream: Stream, shape: Sequence[int], dtype: str) -> DeviceArray:
        """An array of whatever the memory held, for work on `stream`, on which it is freed when nobody holds it.

        Raises EngineError where there is not enough memory, or while a graph is captured: make it before.
        """
        if stream.is_capturing:
            raise EngineError(
                f"expected memory from before the capture of a graph, got a request for {[*shape]} of {dtype} in it; "
                "make the array first"
            )
        size_bytes = prod(shape) * DTYPES[dtype].itemsize
        owner, pointer = None, 0
        if size_bytes:
            with self.context.current():
                pointer = int(call("cuMemAllocFromPoolAsync", size_bytes, self._pool, stream.handle))
            owner = _Block(self, pointer, stream)
        return DeviceArray(pointer, tuple(shape), dense_strides(shape), dtype, stream, owner)

    def zeros(self, stream: Stream, shape: Sequence[int], dtype: str) -> DeviceArray:
        """As `empty`, of zeros. Raises as that."""
        array = self.empty(stream, shape, dtype)
        if array.size:
            with self.context.current():
                call("cuMemsetD8Async", array.pointer, 0, array.size_bytes, stream.handle)
        return array

    @property
    def used_bytes(self) -> int:
        """In arrays that somebody holds."""
        return self._counted("USED_MEM_CURRENT")

    @property
    def reserved_bytes(self) -> int:
        """Taken from the GPU: what is used, and what waits to be used again."""
        return self._counted("RESERVED_MEM_CURRENT")

    def _counted(self, what: str) -> int:
        attribute = getattr(api().CUmemPool_attribute, f"CU_MEMPOOL_ATTR_{what}")
        return int(call("cuMemPoolGetAttribute", self._pool, attribute))


class _Block:
    """Memory of one array and its views. It holds pool and stream, so that these go after it."""

    def __init__(self, memory: Memory, pointer: int, stream: Stream) -> None:
        weakref.finalize(self, _free, memory, pointer, stream)


def _free(memory: Memory, pointer: int, stream: Stream) -> None:
    # A caller may have destroyed the context before us, and all that was in it.
    with suppress(EngineError), memory.context.current():
        call("cuMemFreeAsync", pointer, stream.handle)


def _destroy_pool(context: Context, pool: object) -> None:
    with suppress(EngineError), context.current():
        call("cuMemPoolDestroy", pool)
