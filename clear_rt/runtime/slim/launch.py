"""How a compiled kernel is launched, as `kernels/aot.py` writes it beside the cubin, and its arguments as bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from clear_rt.errors import BundleError, EngineError
from clear_rt.manifest import AGAIN, Entry
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.dtypes import DTYPES

# What integers and floats of kernels are in memory, by Triton's names, and pointers by their star.
_FORMATS = {"i32": "i", "u32": "I", "i64": "q", "u64": "Q", "fp32": "f", "*": "Q"}
# Types that kernels take for others by their bits, as `kernels/planes.py` and `window_step` do.
_TAKEN_AS = {"bool": "u8", "i16": "u16"}
# Loads and stores of 16 bytes: what Triton's tt.divisibility promises of pointers and of integers.
_ALIGNMENT = 16
_MOST_THREADS = 1024
_MOST_BYTES = 1 << 30

Value = DeviceArray | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """`arguments`: kinds by name in order, such as "*bf16" or "i32"; `aligned`: those in multiples of 16.

    Behind them come `trailing_pointers` of Triton's own: the first is memory for scratch, `scratch_bytes` for every
    program of the grid, null where that is 0; others are null. `constants` were compiled in.
    """

    function: str
    arguments: Mapping[str, str]
    aligned: frozenset[str]
    trailing_pointers: int
    threads: int
    shared_bytes: int
    scratch_bytes: int
    scratch_align_bytes: int
    constants: Mapping[str, Any]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of all parameters, with the trailing ones."""
        return (*self.arguments.values(), *("*u8",) * self.trailing_pointers)

    def constant(self, name: str) -> int:
        """A size that was compiled in. Raises EngineError where there is none of this name."""
        value = self.constants.get(name)
        if not isinstance(value, int):
            raise EngineError(
                f"{self.function}: expected a constant {name} in its launch metadata, found {', '.join(self.constants)}"
                f"; {AGAIN}"
            )
        return value


def read_launch(entry: Entry) -> Launch:
    """Raises BundleError where a field is missing, of another type or out of range."""
    kinds = entry.text("arguments").split()
    names = entry.text("names").split()
    if len(names) != len(kinds) or len(set(names)) != len(names):
        raise BundleError(f"{entry.where}: expected a name of its own for each of {len(kinds)} arguments; {AGAIN}")
    unknown = [kind for kind in kinds if _scalar(kind) not in _FORMATS]
    if unknown:
        raise BundleError(f"{entry.where}: expected arguments of {', '.join(_FORMATS)}, got {unknown[0]!r}; {AGAIN}")
    aligned = entry.take("aligned", "names of arguments", lambda v: isinstance(v, str) and {*v.split()} <= {*names})
    return Launch(
        function=entry.text("name"),
        arguments=dict(zip(names, kinds, strict=True)),
        aligned=frozenset(aligned.split()),
        trailing_pointers=entry.integer("trailing_pointers", 0, 8),
        threads=entry.integer("threads", 1, _MOST_THREADS),
        shared_bytes=entry.integer("shared_bytes", 0, _MOST_BYTES),
        scratch_bytes=entry.integer("scratch_bytes_per_program", 0, _MOST_BYTES),
        scratch_align_bytes=entry.integer("scratch_align_bytes", 1, 1 << 16),
        constants=entry.take("constants", "a JSON object", lambda v: isinstance(v, dict)),
    )


def layout(kinds: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Offset and size in bytes of every parameter: each on a multiple of its size, as C has them in a struct."""
    sizes = [struct.calcsize(_FORMATS[_scalar(kind)]) for kind in kinds]
    ends = accumulate(sizes, lambda end, size: -(-end // size) * size + size, initial=0)
    return tuple((end - size, size) for end, size in zip(list(ends)[1:], sizes, strict=True))


def packed(launch: Launch, values: Mapping[str, Value], scratch: int = 0) -> bytes:
    """All parameters as the kernel finds them, `scratch` being the address of its memory.

    Raises EngineError for values under other names, of another type, out of range or off their alignment.
    """
    if values.keys() != launch.arguments.keys():
        raise EngineError(
            f"{launch.function}: expected arguments {', '.join(launch.arguments)}, got {', '.join(values)}; {AGAIN}"
        )
    numbers: list[int | float] = [_number(launch, name, kind, values[name]) for name, kind in launch.arguments.items()]
    trailing = [scratch, *(0,) * launch.trailing_pointers][: launch.trailing_pointers]
    data = bytearray()
    for kind, (offset, _), number in zip(launch.kinds, layout(launch.kinds), (*numbers, *trailing), strict=True):
        data += bytes(offset - len(data)) + struct.pack(f"<{_FORMATS[_scalar(kind)]}", number)
    return bytes(data)


def _number(launch: Launch, name: str, kind: str, value: Value) -> int | float:
    if isinstance(value, DeviceArray):
        number: int | float = value.pointer
        fits = kind == f"*{_TAKEN_AS.get(value.dtype, value.dtype)}"
    elif kind == "fp32":
        number, fits = value, isinstance(value, float)
    else:
        number, fits = value, kind[0] != "*" and isinstance(value, int) and _in_range(kind, value)
    if not fits:
        got = f"an array of {value.dtype}" if isinstance(value, DeviceArray) else repr(value)
        raise EngineError(f"{launch.function}: expected {name} as {kind}, got {got}; use a kernel for that type")
    if name in launch.aligned and number % _ALIGNMENT:
        raise EngineError(
            f"{launch.function}: expected {name} in multiples of {_ALIGNMENT}, got {number}; copy it to memory that is"
        )
    return number


def _in_range(kind: str, value: int) -> bool:
    bits = 8 * struct.calcsize(_FORMATS[kind])
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind[0] == "i" else (0, (1 << bits) - 1)
    return least <= value <= most


def _scalar(kind: str) -> str:
    """The kind itself, or a star for a pointer to elements that we know."""
    return "*" if kind[:1] == "*" and kind[1:] in DTYPES else kind
