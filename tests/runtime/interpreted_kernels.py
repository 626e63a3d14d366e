"""Launches of the slim runtime in Triton's interpreter: its grids and arguments, with no GPU and none pretended.

Arrays are torch's tensors on the CPU, described as the slim runtime has them. Every launch is checked and packed as for
a GPU, then handed to the kernel that the cubin was compiled from.
"""

import inspect
from importlib import import_module
from math import prod

import torch

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.kernels import check_scratch, held
from clear_rt.runtime.slim.launch import packed
from clear_rt.runtime.slim.stream import Stream

STREAM = Stream(Context(1, 0, "the interpreter", 80, 3, 166_912), 7)
DTYPES = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.uint8: "u8", torch.uint16: "u16", torch.int16: "i16",
    torch.int64: "i64", torch.bool: "bool",
}  # fmt: skip
BY_NAME = {name: dtype for dtype, name in DTYPES.items()}
DTYPE_BYTES = {name: dtype.itemsize for name, dtype in BY_NAME.items()}
MODULES = ("window_step", "hold_overlap", "yuv_to_input", "composite", "pull_push_level", "occlusion_attention",
           "occlusion_attention_hopper")  # fmt: skip


def given(tensor):
    """A tensor as the slim runtime describes it."""
    return DeviceArray(tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), DTYPES[tensor.dtype], STREAM, tensor)


def tensor_of(array, kind):
    """The tensor of an array, also of a view, in the type that the kernel takes it for."""
    owner = array.owner
    offset = (array.pointer - owner.data_ptr()) // array.itemsize + owner.storage_offset()
    found = owner.as_strided(array.shape, array.strides, offset)
    return found.view(BY_NAME[kind]) if found.dtype in (torch.bool, torch.int16) else found


class InterpretedMemory:
    """Arrays whose memory is NaN until something is written, on multiples of 256 bytes as the driver's are."""

    def __init__(self):
        self.asked = 0

    def empty(self, stream, shape, dtype):
        self.asked += 1
        size_bytes = prod(shape) * DTYPE_BYTES[dtype]
        held = torch.full((size_bytes + 256,), 0xFF, dtype=torch.uint8)
        first = -held.data_ptr() % 256
        return given(held[first : first + size_bytes].view(BY_NAME[dtype]).view(shape))


class InterpretedKernels:
    """The `Kernels` of cubins for one chip. `launched` are the variants so far."""

    multiprocessors = 3

    def __init__(self, cubins):
        self._cubins, self.launched = cubins, []
        found = (vars(import_module(f"clear_rt.kernels.{name}")) for name in MODULES)
        self._functions = {name: kernel for module in found for name, kernel in module.items() if "_kernel" in name}

    @property
    def names(self):
        return self._cubins.keys()

    def launch_of(self, name):
        return held(self._cubins, name).launch

    def launch(self, stream, name, grid, arguments, scratch=None):
        launch = self.launch_of(name)
        check_scratch(launch, grid, scratch)
        packed(launch, arguments, 0 if scratch is None else scratch.pointer)
        self.launched.append(name)
        kernel = self._functions[launch.function]
        values = {
            n: tensor_of(value, launch.arguments[n][1:]) if isinstance(value, DeviceArray) else value
            for n, value in arguments.items()
        }
        absent = dict.fromkeys(inspect.signature(kernel.fn).parameters)
        kernel[grid](**(absent | dict(launch.constants) | values))
