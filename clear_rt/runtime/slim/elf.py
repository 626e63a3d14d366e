"""What a cubin says of its kernel: for which chip it is, its parameters' places, and how many threads it needs.

Cubins are ELF files of 64 bits. Section `.nv.info.NAME` is a list of attributes, two bytes of format and number with a
value behind. Of those we read KPARAM_INFO, which has ordinal, offset and size of a parameter, and REQNTID. Format and
numbers are those that cuobjdump of CUDA 13.0 shows, for sm_80 to sm_120.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from clear_rt.errors import EngineError
from clear_rt.manifest import AGAIN

_INFO = ".nv.info."
_KPARAM_INFO, _REQNTID = 0x17, 0x10
_SIZED = 4
# Since this version of the ABI the chip's number is in another byte of the flags.
_ABI_OF_CUDA_13 = 8


@dataclass(frozen=True, slots=True)
class CubinInfo:
    """`parameters`: offset and size in bytes, in order; `threads` of a block, 0 where any number will do."""

    function: str
    capability: int
    parameters: tuple[tuple[int, int], ...]
    threads: int


def read_cubin(code: bytes) -> CubinInfo:
    """Raises EngineError where `code` is no cubin of one kernel."""
    try:
        return _read(code)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        raise EngineError(f"expected a cubin of one kernel, got {len(code)} bytes that are none; {AGAIN}") from None


def _read(code: bytes) -> CubinInfo:
    # The magic number, 64 bits, little-endian.
    if code[:6] != b"\x7fELF\x02\x01":
        raise ValueError
    ((function, info),) = [(name.removeprefix(_INFO), data) for name, data in _sections(code) if name.startswith(_INFO)]
    (flags,) = struct.unpack_from("<I", code, 48)
    parameters, threads = {}, 0
    for number, value in _attributes(info):
        if number == _KPARAM_INFO:
            ordinal, offset, packed = struct.unpack_from("<HHI", value, 4)
            parameters[ordinal] = offset, packed >> 18
        elif number == _REQNTID:
            x, y, z = struct.unpack("<III", value)
            threads = x * y * z
    return CubinInfo(
        function=function,
        capability=(flags >> 8 if code[8] >= _ABI_OF_CUDA_13 else flags) & 0xFF,
        parameters=tuple(parameters[ordinal] for ordinal in sorted(parameters)),
        threads=threads,
    )


def _sections(code: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents, but of sections that occupy nothing."""
    (table,) = struct.unpack_from("<Q", code, 40)
    step, count, names = struct.unpack_from("<HHH", code, 58)
    headers = [struct.unpack_from("<IIQQQQ", code, table + i * step) for i in range(count)]
    at = headers[names][4]
    for name, _, _, _, offset, size in headers:
        end = code.index(b"\0", at + name)
        yield code[at + name : end].decode("ascii"), code[offset : offset + size]


def _attributes(info: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(info):
        form, number, value = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == _SIZED:
            if at + value > len(info):
                raise ValueError
            yield number, info[at : at + value]
            at += value
