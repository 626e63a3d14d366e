"""A caller's arrays as they are: pycuda's, and whatever has DLPack or the CUDA array interface. Nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clear_rt.errors import EngineError
from clear_rt.runtime.slim import dlpack
from clear_rt.runtime.slim.arrays import DeviceArray, dense_strides
from clear_rt.runtime.slim.dtypes import DTYPES, named
from clear_rt.runtime.slim.stream import Stream


def wrapped(
    given: object, stream: Stream, *, shape: Sequence[int] | None = None, dtype: object | None = None
) -> DeviceArray:
    """`given` as an array whose memory it keeps, safe to read on `stream`.

    An array of ours, a tensor of torch, an array of cupy, pycuda's GPUArray: shape and type are its own unless others
    of as many bytes are asked for. Bare memory, such as pycuda's DeviceAllocation or an address, needs both. Where
    `given` names the stream that wrote it, `stream` waits for that one.

    Raises EngineError where `given` is none of these, lies elsewhere than on the stream's GPU, or lacks a shape;
    ValueError where shape and type do not fit it.
    """
    array = _typed(given, stream)
    if array is None:
        return _bare(given, stream, shape, dtype)
    if shape is None and dtype is None:
        return array
    kind = array.dtype if dtype is None else named(dtype)
    return array.viewed(array.shape if shape is None else shape, kind)


def _typed(given: object, stream: Stream) -> DeviceArray | None:
    if isinstance(given, DeviceArray):
        stream.wait_for(given.stream)
        return replace(given, stream=stream)
    # First, as torch's form of the other one says nothing of streams, and has no FP8.
    if hasattr(given, "__dlpack__"):
        return _of_dlpack(given, stream)
    interface = getattr(given, "__cuda_array_interface__", None)
    if interface is not None:
        return _of_interface(given, interface, stream)
    if hasattr(given, "gpudata") and hasattr(given, "shape"):
        return _of_gpuarray(given, stream)
    return None


def _of_dlpack(given: Any, stream: Stream) -> DeviceArray:  # noqa: ANN401 - anybody's array
    device = tuple(map(int, given.__dlpack_device__()))
    if device != (dlpack.CUDA, stream.context.ordinal) and device[0] != dlpack.MANAGED:
        raise EngineError(
            f"expected an array on GPU {stream.context.ordinal}, got {type(given).__name__} on DLPack's device "
            f"{device}; copy it there first"
        )
    # 0 is no stream to DLPack; 1 is the legacy default one.
    wanted = stream.handle or 1
    try:
        capsule = given.__dlpack__(stream=wanted, max_version=(1, 0))
    except TypeError:
        # Those from before DLPack 1.0 know no version.
        capsule = given.__dlpack__(stream=wanted)
    found = dlpack.imported(capsule)
    strides = dense_strides(found.shape) if found.strides is None else found.strides
    return DeviceArray(
        found.pointer, found.shape, strides, found.dtype, stream, (given, found.owner), found.is_readonly
    )


def _of_interface(given: object, interface: Any, stream: Stream) -> DeviceArray:  # noqa: ANN401 - a mapping
    pointer, is_readonly = interface["data"]
    shape, dtype = tuple(map(int, interface["shape"])), named(interface["typestr"])
    if interface.get("mask") is not None:
        raise EngineError("expected an array without a mask, got one with it; give its data alone")
    writer = interface.get("stream")
    if writer is not None:
        stream.wait_for(Stream(stream.context, int(writer)))
    strides = _in_elements(interface.get("strides"), shape, dtype)
    return DeviceArray(int(pointer), shape, strides, dtype, stream, given, bool(is_readonly))


def _of_gpuarray(given: Any, stream: Stream) -> DeviceArray:  # noqa: ANN401 - pycuda's, or one that looks like it
    shape, dtype = tuple(map(int, given.shape)), named(given.dtype)
    strides = _in_elements(getattr(given, "strides", None), shape, dtype)
    return DeviceArray(_address(given.gpudata), shape, strides, dtype, stream, given)


def _bare(given: object, stream: Stream, shape: Sequence[int] | None, dtype: object | None) -> DeviceArray:
    if shape is None or dtype is None:
        raise EngineError(
            f"expected an array with __dlpack__ or __cuda_array_interface__, got {type(given).__name__}; "
            "give shape and dtype where it is bare memory of a GPU"
        )
    return DeviceArray(_address(given), tuple(shape), dense_strides(shape), named(dtype), stream, given)


def _address(given: object) -> int:
    """Of memory: pycuda's allocations are integers by `int`."""
    try:
        return int(given)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        raise EngineError(
            f"expected an array or memory of a GPU, got {type(given).__name__}; copy it to the GPU first"
        ) from None


def _in_elements(strides: Sequence[int] | None, shape: tuple[int, ...], dtype: str) -> tuple[int, ...]:
    if strides is None:
        return dense_strides(shape)
    itemsize = DTYPES[dtype].itemsize
    if any(stride % itemsize for stride in strides):
        raise EngineError(
            f"expected strides in steps of the {itemsize} bytes of {dtype}, got {[*strides]}; copy the array"
        )
    return tuple(stride // itemsize for stride in strides)
