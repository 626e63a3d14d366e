"""Arrays in the GPU's memory: a pointer, a shape, strides and a type, and whoever keeps the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from clear_rt.runtime.slim import dlpack
from clear_rt.runtime.slim.dtypes import DTYPES
from clear_rt.runtime.slim.stream import Stream

Index = int | slice


@dataclass(frozen=True, slots=True, eq=False)
class DeviceArray:
    """Elements of `dtype`, by its name in `dtypes`, at `pointer`; `strides` are in elements, as torch has them.

    Its memory lives as long as `owner`. Work on `stream` writes it: whoever takes the array by `__dlpack__` or
    `__cuda_array_interface__` is told so, and waits. Both, and indexing, copy nothing. pycuda's kernels take it as it
    is, pycuda's GPUArray by `gpudata=array.pointer, base=array`.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    stream: Stream = field(repr=False)
    owner: object = field(repr=False)
    is_readonly: bool = False

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return DTYPES[self.dtype].itemsize

    @property
    def size_bytes(self) -> int:
        """Of its elements, without what lies between them."""
        return self.size * self.itemsize

    @property
    def is_dense(self) -> bool:
        """Whether its elements lie in order without gaps."""
        wanted = dense_strides(self.shape)
        return all(n == 1 or got == want for n, got, want in zip(self.shape, self.strides, wanted, strict=True))

    @property
    def gpudata(self) -> int:
        """The pointer, by pycuda's name for it."""
        return self.pointer

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Index | tuple[Index, ...]) -> DeviceArray:
        """A view: integers and slices with steps of 1 or more, for the leading axes.

        Raises IndexError for an index outside the array, TypeError or ValueError for one of another kind.
        """
        indices = index if isinstance(index, tuple) else (index,)
        if len(indices) > len(self.shape):
            raise IndexError(f"expected {len(self.shape)} indices or fewer, got {len(indices)}")
        offset, shape, strides = 0, [], []
        for one, count, stride in zip(indices, self.shape, self.strides, strict=False):
            if isinstance(one, slice):
                start, stop, step = one.indices(count)
                if step < 1:
                    raise ValueError(f"expected a step of 1 or more, got {step}")
                chosen = range(start, stop, step)
                shape.append(len(chosen))
                strides.append(stride * step)
                offset += stride * start if chosen else 0
            else:
                offset += stride * range(count)[one]
        rest = len(indices)
        return replace(
            self,
            pointer=self.pointer + offset * self.itemsize,
            shape=(*shape, *self.shape[rest:]),
            strides=(*strides, *self.strides[rest:]),
        )

    def __iter__(self) -> Iterator[DeviceArray]:
        return (self[i] for i in range(len(self)))

    def swapaxes(self, first: int, second: int) -> DeviceArray:
        """A view with two axes in each other's place."""
        order = list(range(len(self.shape)))
        order[first], order[second] = order[second], order[first]
        shape, strides = (tuple(sizes[axis] for axis in order) for sizes in (self.shape, self.strides))
        return replace(self, shape=shape, strides=strides)

    def viewed(self, shape: Sequence[int], dtype: str | None = None) -> DeviceArray:
        """The same memory in another shape and type. Raises ValueError where it has gaps or another size."""
        dtype = self.dtype if dtype is None else dtype
        size_bytes = prod(shape) * DTYPES[dtype].itemsize
        if not self.is_dense or size_bytes != self.size_bytes:
            raise ValueError(
                f"expected {size_bytes} bytes without gaps for {[*shape]} of {dtype}, "
                f"got {self.size_bytes} in {[*self.shape]} with strides {[*self.strides]}"
            )
        return replace(self, shape=tuple(shape), strides=dense_strides(shape), dtype=dtype)

    def reshape(self, shape: Sequence[int]) -> DeviceArray:
        """As `viewed`, by the name that numpy and torch have for it."""
        return self.viewed(shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3."""
        return {
            "shape": self.shape,
            "typestr": DTYPES[self.dtype].typestr,
            "data": (self.pointer if self.size else 0, self.is_readonly),
            "strides": None if self.is_dense else tuple(self.itemsize * stride for stride in self.strides),
            # 0 could mean that there is none to wait for; 1 is the legacy default stream.
            "stream": self.stream.handle or 1,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self.stream.context.ordinal

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """A capsule; the consumer's `stream` waits for ours, unless it is -1. Raises BufferError for another device."""
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError("expected to be taken where it lies, without a copy; copy it there first")
        if self.is_readonly and max_version is None:
            raise BufferError("expected a consumer of DLPack 1.0, as older ones may write to what is read only")
        if stream != -1:
            Stream(self.stream.context, stream or 1).wait_for(self.stream)
        return dlpack.exported(self, versioned=max_version is not None and max_version >= (1, 0))


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Those of elements in order without gaps."""
    strides = [1]
    for count in reversed(shape[1:]):
        strides.insert(0, strides[0] * max(count, 1))
    return tuple(strides[: len(shape)])
