"""The CUDA driver's functions on the host's memory, for tests of what the slim runtime asks of it: no GPU is pretended.

Work on a stream waits, as on a GPU, until somebody synchronises: whatever is read or freed before shows. Captured work
is kept and done again by a launch. Kernels and TensorRT are not here: what stands for them puts its work by `enqueue`.
"""

import ctypes
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from enum import IntEnum
from importlib import import_module
from itertools import count
from types import ModuleType, SimpleNamespace

from clear_rt.runtime.slim import driver

CONTEXT, DEVICE, CAPABILITY = 0xC0, 0, 80
ATTRIBUTES = {"MAJOR": 8, "MINOR": 0, "COUNT": 3, "OPTIN": 166_912}


class Code(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class Failure(Exception):
    def __init__(self, code):
        self.code = code


class Names:
    """An enumeration of the driver's: every name is itself."""

    def __getattr__(self, name):
        return name


class Memcpy2D:
    """CUDA_MEMCPY2D."""


class HostDriver(ModuleType):
    """`limit_bytes` is what its memory holds; `refuses_capture` fails the end of every capture.

    `called` counts calls by name, `used_bytes` what is allocated now.
    """

    CUresult = Code
    CUdevice_attribute = CUevent_flags = CUmemPool_attribute = CUmemAllocationType = CUmemorytype = Names()
    CUmemAllocationHandleType = CUmemLocationType = CUstreamCaptureMode = CUfunction_attribute = Names()
    CUDA_MEMCPY2D = Memcpy2D

    def __init__(self):
        super().__init__("cuda.bindings.driver")
        self._numbers, self._lock = count(0x1000), threading.RLock()
        self._memory, self._pinned, self._freed = {}, {}, deque()
        self._streams, self._capturing, self._graphs, self._events = {0: []}, {}, {}, {}
        self.used_bytes = self._depth = 0
        self.reset()
        self.CUevent_flags = self.CUstream_flags = SimpleNamespace(
            CU_EVENT_DEFAULT=0, CU_EVENT_DISABLE_TIMING=2, CU_STREAM_NON_BLOCKING=1
        )

    def reset(self):
        self.called, self.limit_bytes, self.refuses_capture = {}, 1 << 40, False

    def __getattr__(self, name):
        if not name.startswith("cu") or name.startswith("cuda"):
            raise AttributeError(name)
        work = getattr(type(self), f"do_{name[2:]}", None)

        def call(*arguments):
            if name == "cuMemFreeAsync":
                # The collector calls it at any time, also from within the functions below.
                self._freed.append(arguments)
                return (Code.CUDA_SUCCESS,)
            with self._lock:
                while self._freed and not self._depth:
                    self._free(*self._freed.popleft())
                self.called[name] = self.called.get(name, 0) + 1
                self._depth += 1
                try:
                    found = work(self, *arguments)
                except Failure as error:
                    return (error.code,)
                finally:
                    self._depth -= 1
            return (Code.CUDA_SUCCESS,) if found is None else (Code.CUDA_SUCCESS, found)

        return call

    # --- what work on streams is made of --------------------------------------------------------------------------

    def enqueue(self, stream, work):
        """Work that is done when the stream is waited for, or at each launch of the graph that it is captured in."""
        with self._lock:
            (self._capturing.get(stream) or self._streams)[stream].append(work)

    def finish(self, stream):
        with self._lock:
            assert stream not in self._capturing, "a stream that is captured cannot be waited for"
            waiting, self._streams[stream] = self._streams[stream], []
            for work in waiting:
                work()

    # --- contexts -------------------------------------------------------------------------------------------------

    def do_Init(self, flags):
        return None

    def do_CtxGetCurrent(self):
        return CONTEXT

    def do_CtxPushCurrent(self, context):
        assert context == CONTEXT

    def do_CtxPopCurrent(self):
        return CONTEXT

    def do_CtxGetDevice(self):
        return DEVICE

    def do_DeviceGetName(self, length, device):
        return b"the host's memory\0"

    def do_DeviceGetAttribute(self, name, device):
        return next(value for ending, value in ATTRIBUTES.items() if name.endswith(ending))

    # --- streams and events ---------------------------------------------------------------------------------------

    def do_StreamCreate(self, flags):
        stream = next(self._numbers)
        self._streams[stream] = []
        return stream

    def do_StreamDestroy(self, stream):
        self.finish(stream)

    def do_StreamSynchronize(self, stream):
        self.finish(stream)

    def do_StreamWaitEvent(self, stream, event, flags):
        self.enqueue(stream, lambda: self.do_EventSynchronize(event))

    def do_EventCreate(self, flags):
        event = next(self._numbers)
        self._events[event] = None
        return event

    def do_EventRecord(self, event, stream):
        def done():
            self._events[event] = None

        self._events[event] = stream
        self.enqueue(stream, done)

    def do_EventSynchronize(self, event):
        stream = self._events.get(event)
        if stream is not None:
            self.finish(stream)

    def do_EventDestroy(self, event):
        self.do_EventSynchronize(event)

    # --- memory ---------------------------------------------------------------------------------------------------

    def CUmemPoolProps(self):
        return SimpleNamespace(location=SimpleNamespace())

    def cuuint64_t(self, value):
        return value

    def do_MemPoolCreate(self, properties):
        return next(self._numbers)

    def do_MemPoolSetAttribute(self, pool, name, value):
        return None

    def do_MemPoolDestroy(self, pool):
        return None

    def do_MemPoolGetAttribute(self, pool, name):
        return self.used_bytes

    def do_MemAllocFromPoolAsync(self, size_bytes, pool, stream):
        assert stream not in self._capturing
        if self.used_bytes + size_bytes > self.limit_bytes:
            raise Failure(Code.CUDA_ERROR_OUT_OF_MEMORY)
        # What nobody has written is NaN in every type.
        held = ctypes.create_string_buffer(b"\xff" * (size_bytes + 256), size_bytes + 256)
        pointer = -(-ctypes.addressof(held) // 256) * 256
        self._memory[pointer] = held, size_bytes
        self.used_bytes += size_bytes
        return pointer

    def _free(self, pointer, stream):
        held, size_bytes = self._memory.pop(pointer)
        self.used_bytes -= size_bytes

        def spoil():
            ctypes.memset(pointer, 0xFF, size_bytes)
            return held

        self.enqueue(stream, spoil)

    def do_MemHostAlloc(self, size_bytes, flags):
        held = ctypes.create_string_buffer(size_bytes)
        self._pinned[ctypes.addressof(held)] = held
        return ctypes.addressof(held)

    def do_MemFreeHost(self, pointer):
        del self._pinned[pointer]

    def do_MemsetD8Async(self, pointer, value, size_bytes, stream):
        self._inside(pointer, size_bytes)
        self.enqueue(stream, lambda: ctypes.memset(pointer, value, size_bytes))

    def do_MemcpyHtoDAsync(self, target, source, size_bytes, stream):
        self._inside(target, size_bytes)
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size_bytes))

    def do_MemcpyDtoHAsync(self, target, source, size_bytes, stream):
        self._inside(source, size_bytes)
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size_bytes))

    def do_MemcpyDtoDAsync(self, target, source, size_bytes, stream):
        self._inside(target, size_bytes)
        self._inside(source, size_bytes)
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size_bytes))

    def do_Memcpy2DAsync(self, order, stream):
        width, height = order.WidthInBytes, order.Height
        assert min(order.srcPitch, order.dstPitch) >= width
        self._inside(order.dstDevice, (height - 1) * order.dstPitch + width)
        self._inside(order.srcDevice, (height - 1) * order.srcPitch + width)
        rows = [(order.dstDevice + i * order.dstPitch, order.srcDevice + i * order.srcPitch) for i in range(height)]

        def move():
            for target, source in rows:
                ctypes.memmove(target, source, width)

        self.enqueue(stream, move)

    def _inside(self, pointer, size_bytes):
        """As the GPU would fault: memory that is allocated, or in a graph was when it was captured."""
        places = ((start, size) for start, (_, size) in self._memory.items())
        assert any(start <= pointer and pointer + size_bytes <= start + size for start, size in places), "not allocated"

    # --- graphs ---------------------------------------------------------------------------------------------------

    def do_StreamBeginCapture(self, stream, mode):
        assert stream not in self._capturing
        self._capturing[stream] = {stream: []}

    def do_StreamEndCapture(self, stream):
        captured = self._capturing.pop(stream)[stream]
        if self.refuses_capture:
            raise Failure(Code.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
        return self._kept(captured)

    def do_GraphInstantiate(self, graph, flags):
        return self._kept(self._graphs[graph])

    def do_GraphDestroy(self, graph):
        del self._graphs[graph]

    def do_GraphExecDestroy(self, graph):
        del self._graphs[graph]

    def do_GraphLaunch(self, graph, stream):
        for work in self._graphs[graph]:
            self.enqueue(stream, work)

    def _kept(self, captured):
        graph = next(self._numbers)
        self._graphs[graph] = captured
        return graph


# One for all tests: what an earlier one made may go in the middle of a later one.
_DRIVER = HostDriver()


@contextmanager
def host_driver():
    """Inside, it is the driver that the slim runtime finds."""
    name, stand_in = "cuda.bindings.driver", _DRIVER
    stand_in.reset()
    # Whole: what goes later asks for it, also in the middle of somebody's import.
    with suppress(ImportError):
        import_module(name)
    before = sys.modules.get(name)
    sys.modules[name] = stand_in
    driver.api.cache_clear()
    try:
        yield stand_in
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        driver.api.cache_clear()
