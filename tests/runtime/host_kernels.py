"""Compiled kernels in Triton's interpreter, on the memory of `host_driver`: launches wait on their stream as others."""

import ctypes
import inspect
from math import prod

import torch

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.dtypes import DTYPES
from clear_rt.runtime.slim.kernels import check_scratch
from clear_rt.runtime.slim.launch import packed
from tests.runtime.interpreted_kernels import BY_NAME, InterpretedKernels


class HostKernels(InterpretedKernels):
    """As `Kernels`, of cubins for one chip, which say how to launch."""

    def __init__(self, cubins, driver):
        super().__init__(cubins)
        self._driver = driver

    def launch(self, stream, name, grid, arguments, scratch=None):
        launch = self.launch_of(name)
        check_scratch(launch, grid, scratch)
        packed(launch, arguments, 0 if scratch is None else scratch.pointer)
        kernel = self._functions[launch.function]
        absent = dict.fromkeys(inspect.signature(kernel.fn).parameters)
        # Views, and no more: a graph holds addresses, not arrays.
        values = {
            n: _tensor(value, launch.arguments[n][1:]) if isinstance(value, DeviceArray) else value
            for n, value in arguments.items()
        }

        def work():
            self.launched.append(name)
            kernel[grid](**(absent | dict(launch.constants) | values))

        self._driver.enqueue(stream.handle, work)


def _tensor(array, kind):
    """The memory that an array spans, in the type that the kernel takes it for."""
    span = 1 + sum((size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True))
    itemsize = DTYPES[array.dtype].itemsize
    memory = (ctypes.c_uint8 * (span * itemsize if prod(array.shape) else 0)).from_address(array.pointer)
    return torch.frombuffer(memory, dtype=BY_NAME[kind]).as_strided(array.shape, array.strides)
