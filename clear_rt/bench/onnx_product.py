"""A matrix product by ONNX Runtime, the library that the onnx engine stands on: NumPy's is not always the faster one.

The graph of one node is written in protobuf by hand; numbers of fields as in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from clear_rt.runtime.onnx_session import open_session

_IR_VERSION, _OPSET, _FLOAT = 8, 17, 1


def product_of(size: int) -> Callable[[], object]:
    """A call that multiplies two fp32 matrices of that size. Raises EngineError where ONNX Runtime takes no graph."""
    session = open_session(Path("a matrix product"), _graph(size))
    left = np.random.default_rng(0).standard_normal((size, size), np.float32)
    return lambda: session.run(None, {"a": left, "b": left})


def _graph(size: int) -> bytes:
    shape = b"".join(_part(1, _number(1, size)) for _ in range(2))
    tensor = _part(2, _part(1, _number(1, _FLOAT) + _part(2, shape)))
    node = _part(1, b"a") + _part(1, b"b") + _part(2, b"c") + _part(4, b"MatMul")
    values = b"".join(_part(field, _part(1, name) + tensor) for field, name in ((11, b"a"), (11, b"b"), (12, b"c")))
    graph = _part(1, node) + _part(2, b"product") + values
    return _number(1, _IR_VERSION) + _part(7, graph) + _part(8, _number(2, _OPSET))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Groups of seven bits, lowest first; all but the last with the eighth bit set."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
