"""DLPack's capsules, made and read by ctypes: no library of arrays has to be there on our side.

The layout is that of dlpack.h 1.1; capsules from before 1.0 have no version and no flags.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.dtypes import DTYPES, of_dlpack

CUDA = 2
# Memory that a GPU reads where it is, too: allocated as managed.
MANAGED = 13
_READ_ONLY = 1
_NAMES = (b"dltensor", b"dltensor_versioned")


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_PYTHON = ctypes.pythonapi
_new = _PYTHON.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_name_of = _PYTHON.PyCapsule_GetName
_name_of.restype, _name_of.argtypes = ctypes.c_char_p, (ctypes.py_object,)
_pointer_of = _PYTHON.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
# A capsule that is being destroyed must not be referenced again: it is passed by its address.
_still_named = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _PYTHON))
_pointer_at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _PYTHON))

# By address: the struct that a consumer holds, and what keeps its memory.
_held: dict[int, tuple[Any, ...]] = {}


def _delete(address: int) -> None:
    _held.pop(address, None)


def _unused(capsule: int) -> None:
    """A capsule that nobody took, as its name says, gives up what it holds."""
    for name in _NAMES:
        if _still_named(capsule, name):
            _held.pop(_pointer_at(capsule, name), None)


_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# A consumer may call them for as long as the process lives.
_DELETE, _UNUSED = _Callback(_delete), _Callback(_unused)


class Exported(Protocol):
    """What of an array goes into a capsule."""

    @property
    def pointer(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def is_readonly(self) -> bool: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class Imported:
    """What a capsule holds, strides in elements; its memory lives as long as `owner`, the capsule itself."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: str
    is_readonly: bool
    device: tuple[int, int]
    owner: object


def exported(array: Exported, *, versioned: bool) -> object:
    """A capsule that keeps `array` until its consumer, or nobody, needs it."""
    axes = len(array.shape)
    shape, strides = (ctypes.c_int64 * axes)(*array.shape), (ctypes.c_int64 * axes)(*array.strides)
    dtype, (kind, ordinal) = DTYPES[array.dtype], array.__dlpack_device__()
    tensor = _Tensor(
        array.pointer, kind, ordinal, axes, dtype.code, 8 * dtype.itemsize, 1,
        ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64)), ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64)), 0,
    )  # fmt: skip
    deleter = ctypes.cast(_DELETE, ctypes.c_void_p)
    flags = _READ_ONLY if array.is_readonly else 0
    managed = _Versioned(1, 0, None, deleter, flags, tensor) if versioned else _Managed(tensor, None, deleter)
    address = ctypes.addressof(managed)
    _held[address] = managed, shape, strides, array
    return _new(address, _NAMES[versioned], ctypes.cast(_UNUSED, ctypes.c_void_p))


def imported(capsule: object) -> Imported:
    """Raises EngineError for a capsule of another kind, or elements that we lack.

    The capsule keeps its name, and so its memory: it frees it when it goes itself.
    """
    name = _name_of(capsule)
    if name not in _NAMES:
        raise EngineError(f"expected a capsule of DLPack that nobody has taken, got {name!r}; ask for a new one")
    address = _pointer_of(capsule, name)
    is_readonly = False
    if name == _NAMES[True]:
        versioned = _Versioned.from_address(address)
        if versioned.major != 1:
            raise EngineError(f"expected DLPack 1, got {versioned.major}.{versioned.minor}; use the array interface")
        tensor, is_readonly = versioned.tensor, bool(versioned.flags & _READ_ONLY)
    else:
        tensor = _Managed.from_address(address).tensor
    return Imported(
        pointer=(tensor.data or 0) + tensor.byte_offset,
        shape=tuple(tensor.shape[: tensor.ndim]),
        strides=tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None,
        dtype=of_dlpack(tensor.code, tensor.bits, tensor.lanes),
        is_readonly=is_readonly,
        device=(tensor.device_type, tensor.device_id),
        owner=capsule,
    )
