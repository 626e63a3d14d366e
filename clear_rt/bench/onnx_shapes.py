"""Names and shapes of the weights in an ONNX graph, read without any ONNX library: protobuf's framing is enough.

Source: the numbers of fields are those of onnx.proto: ModelProto.graph 7, GraphProto.initializer 5, TensorProto.dims 1
and .name 8.
"""

from __future__ import annotations

from collections.abc import Iterator

_GRAPH, _INITIALIZER, _DIMS, _NAME = 7, 5, 1, 8
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def weight_shapes(graph: bytes) -> dict[str, tuple[int, ...]]:
    """Shapes of all initializers by name. Raises ValueError where the bytes are no such message."""
    return dict(
        _tensor(tensor)
        for number, part in _fields(memoryview(graph))
        if number == _GRAPH and isinstance(part, memoryview)
        for inner, tensor in _fields(part)
        if inner == _INITIALIZER and isinstance(tensor, memoryview)
    )


def _tensor(message: memoryview) -> tuple[str, tuple[int, ...]]:
    name, sizes = "", []
    for number, value in _fields(message):
        if number == _NAME and isinstance(value, memoryview):
            name = bytes(value).decode(errors="replace")
        elif number == _DIMS:
            sizes += [value] if isinstance(value, int) else _varints(value)
    return name, tuple(sizes)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field: an integer, or the bytes of a message, a text or packed integers."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        length, place = _length(message, place, kind)
        if place + length > len(message):
            raise ValueError("expected an ONNX graph, found a field that ends beyond the file")
        yield key >> 3, message[place : place + length]
        place += length


def _length(message: memoryview, place: int, kind: int) -> tuple[int, int]:
    if kind == _LENGTH:
        return _varint(message, place)
    if kind in (_EIGHT_BYTES, _FOUR_BYTES):
        return (8 if kind == _EIGHT_BYTES else 4), place
    raise ValueError(f"expected an ONNX graph, found a field of kind {kind}")


def _varints(message: memoryview) -> list[int]:
    values, place = [], 0
    while place < len(message):
        value, place = _varint(message, place)
        values.append(value)
    return values


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """An integer in groups of seven bits, lowest first, and the place behind it."""
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("expected an ONNX graph, found an integer without an end")
