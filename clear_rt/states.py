"""What a computation holds between two of its steps, as bytes: arrays with names, checked before they are used.

Nothing in them is ever executed. They begin with their version and end with a hash, so that what is damaged is refused.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Named = Iterator[tuple[str, Array]]

_MAGIC, _VERSION = b"CLEARRTS", 1
_BEGIN, _LENGTH = struct.Struct("<8sI"), struct.Struct("<I")
_TYPES = {"<f4", "<f2", "<u2", "|u1", "<i8"}


class StateError(Exception):
    """A state is damaged, or of something else: go on as if there were none."""


def integers(*numbers: int) -> Array:
    """As an array of a state."""
    return np.array(numbers, np.int64)


def numbered(name: str, arrays: Iterable[Array]) -> Named:
    """name.0, name.1 and so on, for `Stored.numbered`."""
    return ((f"{name}.{i}", array) for i, array in enumerate(arrays))


def within(part: str, named: Named) -> Named:
    """Names in a part of a state, for `Stored.part`."""
    return ((f"{part}/{name}", array) for name, array in named)


def packed(named: Iterable[tuple[str, Array]]) -> bytes:
    """All arrays, which are taken one after the other. Raises ValueError for types other than those of a state."""
    buffer = BytesIO()
    buffer.write(_BEGIN.pack(_MAGIC, _VERSION))
    for name, array in named:
        if array.dtype.str not in _TYPES:
            raise ValueError(f"{name}: expected a type out of {', '.join(sorted(_TYPES))}, got {array.dtype.str}")
        head = json.dumps([name, array.dtype.str, array.shape]).encode()
        buffer.write(_LENGTH.pack(len(head)) + head)
        buffer.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())
    return buffer.getvalue()


def unpacked(data: bytes) -> Stored:
    """What was `packed`; arrays are read-only and in the memory of `data`. Raises StateError."""
    if len(data) < _BEGIN.size + hashlib.sha256().digest_size or not data.startswith(_MAGIC):
        raise StateError("expected a state of clear_rt, found something else")
    _, version = _BEGIN.unpack_from(data)
    if version != _VERSION:
        raise StateError(f"expected a state of version {_VERSION}, found version {version}")
    body = memoryview(data)[: -hashlib.sha256().digest_size]
    if hashlib.sha256(body).digest() != data[len(body) :]:
        raise StateError("the state is damaged: its hash is another")
    return Stored(dict(_read(body)))


def _read(body: memoryview) -> Named:
    at = _BEGIN.size
    try:
        while at < len(body):
            (length,) = _LENGTH.unpack_from(body, at)
            at += _LENGTH.size
            name, dtype, shape = json.loads(bytes(body[at : at + length]))
            at += length
            if dtype not in _TYPES:
                raise ValueError(f"{name} is of type {dtype}")
            count = prod(shape)
            yield name, np.frombuffer(body, dtype, count, at).reshape(shape)
            at += count * np.dtype(dtype).itemsize
    except (struct.error, ValueError, TypeError) as error:
        raise StateError(f"the state cannot be read: {error}") from None


class Stored:
    """The arrays of a state, or of a part of it, by name. Reading what is not as expected raises StateError."""

    def __init__(self, arrays: Mapping[str, Array], prefix: str = "") -> None:
        self._arrays, self._prefix = arrays, prefix

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._arrays

    def part(self, name: str) -> Stored:
        """What was put `within` the part."""
        return Stored(self._arrays, f"{self._prefix}{name}/")

    def any(self, name: str) -> Array:
        """The array, whatever it is."""
        if name not in self:
            raise StateError(f"{self._prefix}{name} is missing from the state")
        return self._arrays[self._prefix + name]

    def array(self, name: str, shape: Sequence[int], dtype: DTypeLike = np.float32) -> Array:
        """The array, of this shape and type."""
        found = self.any(name)
        if (found.shape, found.dtype) != (tuple(shape), np.dtype(dtype)):
            raise StateError(
                f"{self._prefix}{name}: expected {np.dtype(dtype)} {[*shape]}, found {found.dtype} {[*found.shape]}"
            )
        return found

    def integers(self, name: str, count: int | None = None) -> list[int]:
        """Numbers of 0 and more, `count` of them where that is given."""
        found = self.any(name)
        array = self.array(name, (found.size if count is None else count,), np.int64)
        if (array < 0).any():
            raise StateError(f"{self._prefix}{name}: expected numbers of 0 or more, found {array.min()}")
        return [int(number) for number in array]

    def integer(self, name: str) -> int:
        """A number of 0 or more."""
        return self.integers(name, 1)[0]

    def numbered(self, name: str) -> list[Array]:
        """What was `numbered`, as many as there are."""
        found: list[Array] = []
        while f"{name}.{len(found)}" in self:
            found.append(self.any(f"{name}.{len(found)}"))
        return found


def require(condition: bool, sentence: str) -> None:
    """Raises StateError with the sentence unless the condition holds."""
    if not condition:
        raise StateError(sentence)
