"""Compiled kernels in a context: loaded when first launched, by the name of their variant, with arguments by name."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Protocol

from clear_rt.errors import EngineError
from clear_rt.manifest import AGAIN
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.driver import api, call
from clear_rt.runtime.slim.kernel_files import Cubin, KernelsSpec
from clear_rt.runtime.slim.launch import Launch, Value, layout, packed
from clear_rt.runtime.slim.stream import Stream

Grid = tuple[int, int, int]
# What every block may have without asking: CUDA programming guide, table of compute capabilities.
_SHARED_BYTES = 48 << 10


class Kernels(Protocol):
    """What operations launch by; `multiprocessors` are those of the GPU."""

    @property
    def multiprocessors(self) -> int: ...

    @property
    def names(self) -> Collection[str]:
        """The variants that there are."""
        ...

    def launch_of(self, name: str) -> Launch:
        """How a variant is launched. Raises EngineError where there is none of that name, naming those of its op."""
        ...

    def launch(
        self, stream: Stream, name: str, grid: Grid, arguments: Mapping[str, Value], scratch: DeviceArray | None = None
    ) -> None:
        """Starts a variant on `stream`, with memory of `scratch_bytes` for every program where it needs that.

        Raises EngineError for arguments that do not fit it.
        """
        ...


class LoadedKernels:
    """The `Kernels` of a bundle on the GPU of a context.

    Raises EngineError where none are for this GPU, or one needs more shared memory than a block of it has.
    """

    def __init__(self, spec: KernelsSpec, context: Context) -> None:
        self._context, self._cubins = context, spec.for_gpu(context.capability)
        for name, cubin in self._cubins.items():
            if cubin.launch.shared_bytes > context.shared_bytes:
                raise EngineError(
                    f"{name}: expected at most {context.shared_bytes} bytes of shared memory, what a block of this GPU "
                    f"may have, got {cubin.launch.shared_bytes}; {AGAIN}"
                )
        self._functions: dict[str, int] = {}

    @property
    def multiprocessors(self) -> int:
        return self._context.multiprocessors

    @property
    def names(self) -> Collection[str]:
        return self._cubins.keys()

    def launch_of(self, name: str) -> Launch:
        """As `Kernels.launch_of`."""
        return held(self._cubins, name).launch

    def load(self) -> None:
        """Loads all of them now, not in the middle of a stream or of the capture of a graph."""
        for name in self._cubins:
            self._function(name)

    def launch(
        self, stream: Stream, name: str, grid: Grid, arguments: Mapping[str, Value], scratch: DeviceArray | None = None
    ) -> None:
        """As `Kernels.launch`."""
        launch = self.launch_of(name)
        check_scratch(launch, grid, scratch)
        data = packed(launch, arguments, 0 if scratch is None else scratch.pointer)
        function = self._function(name)
        held_data = ctypes.create_string_buffer(data, len(data))
        start = ctypes.addressof(held_data)
        pointers = (ctypes.c_void_p * len(launch.kinds))(*(start + offset for offset, _ in layout(launch.kinds)))
        with self._context.current():
            call(
                "cuLaunchKernel", function, *grid, launch.threads, 1, 1, launch.shared_bytes, stream.handle,
                ctypes.addressof(pointers), 0,
            )  # fmt: skip

    def _function(self, name: str) -> int:
        if name not in self._functions:
            self._functions[name] = self._loaded(held(self._cubins, name))
        return self._functions[name]

    def _loaded(self, cubin: Cubin) -> int:
        code = ctypes.create_string_buffer(cubin.code, len(cubin.code))
        with self._context.current():
            module = int(call("cuModuleLoadData", ctypes.addressof(code)))
            weakref.finalize(self, _unload, self._context, module)
            function = int(call("cuModuleGetFunction", module, cubin.launch.function.encode()))
            if cubin.launch.shared_bytes > _SHARED_BYTES:
                wanted = api().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                call("cuFuncSetAttribute", function, wanted, cubin.launch.shared_bytes)
        return function


def held(cubins: Mapping[str, Cubin], name: str) -> Cubin:
    """A cubin by its variant. Raises EngineError as `Kernels.launch_of`."""
    if name not in cubins:
        op = name.split("-")[0]
        there = ", ".join(one for one in cubins if one.split("-")[0] == op) or f"none of {op}"
        raise EngineError(f"expected kernel {name} in the bundle, found {there}; build the bundle for that type")
    return cubins[name]


def check_scratch(launch: Launch, grid: Grid, scratch: DeviceArray | None) -> None:
    """Raises EngineError where a kernel gets less memory for scratch than it needs, or some off its alignment."""
    needed = launch.scratch_bytes * grid[0] * grid[1] * grid[2]
    got = 0 if scratch is None else scratch.size_bytes
    if got < needed or (scratch is not None and needed and scratch.pointer % launch.scratch_align_bytes):
        raise EngineError(
            f"{launch.function}: expected {needed} bytes of scratch memory in multiples of "
            f"{launch.scratch_align_bytes}, got {got}; make it by Memory.empty"
        )


def _unload(context: Context, module: int) -> None:
    with suppress(EngineError), context.current():
        call("cuModuleUnload", module)
