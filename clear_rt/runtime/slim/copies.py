"""Copies within the GPU's memory, also of parts of arrays and into parts: what lies without gaps goes at once."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.driver import api, call
from clear_rt.runtime.slim.stream import Stream


class _Axis(NamedTuple):
    """So many runs of memory; bytes from one to the next in the target and in the source."""

    times: int
    target_bytes: int
    source_bytes: int


def copy(stream: Stream, target: DeviceArray, source: DeviceArray) -> None:
    """Begins to copy `source` into `target`, of the same shape and type, with any strides that do not overlap.

    Raises ValueError for another shape or type, or a target that is read only.
    """
    if (target.shape, target.dtype) != (source.shape, source.dtype) or target.is_readonly:
        raise ValueError(
            f"expected to copy {source.dtype} {[*source.shape]} into an array of that form that may be written to, "
            f"got {target.dtype} {[*target.shape]}{' that is read only' if target.is_readonly else ''}"
        )
    if not source.size:
        return
    run_bytes, axes = _runs(target, source)
    *outer, rows = axes or [_Axis(1, run_bytes, run_bytes)]
    with stream.context.current():
        for place in product(*(range(axis.times) for axis in outer)):
            steps = list(zip(place, outer, strict=True))
            to = target.pointer + sum(i * axis.target_bytes for i, axis in steps)
            start = source.pointer + sum(i * axis.source_bytes for i, axis in steps)
            _rows(stream, to, start, run_bytes, rows)


def _runs(target: DeviceArray, source: DeviceArray) -> tuple[int, list[_Axis]]:
    """Bytes that lie without gaps in both, and the axes along which such runs lie."""
    run_bytes, axes = target.itemsize, list[_Axis]()
    sizes = zip(target.shape, target.strides, source.strides, strict=True)
    kept = [_Axis(n, to * target.itemsize, start * target.itemsize) for n, to, start in sizes if n != 1]
    for axis in reversed(kept):
        if not axes and axis.target_bytes == axis.source_bytes == run_bytes:
            run_bytes *= axis.times
        else:
            axes.insert(0, axis)
    return run_bytes, axes


def _rows(stream: Stream, target: int, source: int, run_bytes: int, rows: _Axis) -> None:
    if rows.times == 1:
        call("cuMemcpyDtoDAsync", target, source, run_bytes, stream.handle)
        return
    driver = api()
    order = driver.CUDA_MEMCPY2D()
    order.srcMemoryType = order.dstMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
    order.srcDevice, order.srcPitch = source, rows.source_bytes
    order.dstDevice, order.dstPitch = target, rows.target_bytes
    order.WidthInBytes, order.Height = run_bytes, rows.times
    call("cuMemcpy2DAsync", order, stream.handle)
