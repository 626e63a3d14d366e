"""Types of elements by the names that kernels have for them, and what numpy and DLPack call them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clear_rt.errors import EngineError


@dataclass(frozen=True, slots=True)
class Dtype:
    """`typestr` is that of array interfaces, `host` numpy's type of the same bits, `code` DLPack's."""

    name: str
    itemsize: int
    typestr: str
    host: str
    code: int


# numpy has no bfloat16 and no E4M3: V2 and V1 are how torch and ml_dtypes name them. DLPack's codes are its 1.1.
_ALL = (
    Dtype("bool", 1, "|b1", "bool", 6),
    Dtype("u8", 1, "|u1", "uint8", 1),
    Dtype("i8", 1, "|i1", "int8", 0),
    Dtype("u16", 2, "<u2", "uint16", 1),
    Dtype("i16", 2, "<i2", "int16", 0),
    Dtype("i32", 4, "<i4", "int32", 0),
    Dtype("i64", 8, "<i8", "int64", 0),
    Dtype("fp16", 2, "<f2", "float16", 2),
    Dtype("bf16", 2, "<V2", "uint16", 4),
    Dtype("fp32", 4, "<f4", "float32", 2),
    Dtype("e4m3", 1, "|V1", "uint8", 10),
)
DTYPES = {dtype.name: dtype for dtype in _ALL}
_BY_CODE = {(dtype.code, 8 * dtype.itemsize): dtype.name for dtype in _ALL}
_BY_TYPESTR = {dtype.typestr[1:]: dtype.name for dtype in _ALL}


def named(dtype: object) -> str:
    """Our name of a type given by it, as a numpy type or as a typestr. Raises EngineError for one that we lack."""
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype
    try:
        typestr = dtype if isinstance(dtype, str) and dtype[:1] in "<|>=" else np.dtype(dtype).str  # type: ignore[call-overload]
    except TypeError:
        typestr = str(dtype)
    if typestr[:1] == ">" or typestr[1:] not in _BY_TYPESTR:
        raise EngineError(f"expected elements of {', '.join(DTYPES)}, got {typestr}; convert the array")
    return _BY_TYPESTR[typestr[1:]]


def of_dlpack(code: int, bits: int, lanes: int) -> str:
    """Our name of a type of DLPack's. Raises EngineError for one that we lack."""
    if lanes != 1 or (code, bits) not in _BY_CODE:
        raise EngineError(
            f"expected elements of {', '.join(DTYPES)}, got DLPack's code {code} of {bits} bits x {lanes}; "
            "convert the array"
        )
    return _BY_CODE[code, bits]
