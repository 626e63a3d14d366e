"""Parameter sets of two encoders in the headers of one stream, told apart by their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clear_rt.frames.nal import H264, HEVC, unescaped
from clear_rt.frames.segments.bits import Bits

_SPS_NUMBER_BYTE, _PPS_NUMBER_BYTE = 4, 1
# Of x264's option, which numbers both sets alike; a PPS could go on to 255.
_NUMBERS = range(32)
_START_CODE = b"\0\0\0\1"
_HVCC_LEVEL_BYTE, _HVCC_ARRAYS_BYTE = 12, 22


def free_number(sets: Iterable[bytes]) -> int | None:
    """A number that none of H.264's parameter sets has, None where there is none."""
    taken = set()
    for unit in sets:
        kind = H264.kind(unit)
        if kind in (H264.sps, H264.pps):
            at = _SPS_NUMBER_BYTE if kind == H264.sps else _PPS_NUMBER_BYTE
            taken.add(Bits(unescaped(unit)[at : at + 8]).unsigned())
    return next((number for number in _NUMBERS if number not in taken), None)


def merged(codec: str, headers: bytes, added: Sequence[bytes]) -> bytes:
    """The headers of a stream that may refer to the parameter sets in `added` as well."""
    if headers[:1] != b"\1":
        return headers + b"".join(_START_CODE + unit for unit in added)
    return _with_avcc(headers, added) if codec == "h264" else _with_hvcc(headers, added)


def _with_avcc(headers: bytes, added: Sequence[bytes]) -> bytes:
    sps = [unit for unit in added if H264.kind(unit) == H264.sps]
    pps = [unit for unit in added if H264.kind(unit) == H264.pps]
    old_sps, at = _listed(headers, 6, headers[5] & 0x1F)
    old_pps, end = _listed(headers, at + 1, headers[at])
    level = max([headers[3], *(unit[H264.level_byte] for unit in sps)])
    sps_count, pps_count = (headers[5] & 0x1F) + len(sps), headers[at] + len(pps)
    parts = [headers[:3], bytes([level, headers[4], 0xE0 | sps_count]), old_sps, *map(_sized, sps)]
    return b"".join([*parts, bytes([pps_count]), old_pps, *map(_sized, pps), headers[end:]])


def _with_hvcc(headers: bytes, added: Sequence[bytes]) -> bytes:
    at, parts, left = _HVCC_ARRAYS_BYTE + 1, list[bytes](), list(added)
    for _ in range(headers[_HVCC_ARRAYS_BYTE]):
        kind, count = headers[at], int.from_bytes(headers[at + 1 : at + 3], "big")
        old, at = _listed(headers, at + 3, count)
        more = [unit for unit in left if HEVC.kind(unit) == kind & 0x3F]
        left = [unit for unit in left if unit not in more]
        parts += [bytes([kind]), (count + len(more)).to_bytes(2, "big"), old, *map(_sized, more)]
    if left:
        raise ValueError("the stream's headers have no place for another parameter set")
    levels = [unescaped(unit)[HEVC.level_byte] for unit in added if HEVC.kind(unit) == HEVC.sps]
    level = bytes([max(headers[_HVCC_LEVEL_BYTE], *levels)])
    return headers[:_HVCC_LEVEL_BYTE] + level + headers[_HVCC_LEVEL_BYTE + 1 : _HVCC_ARRAYS_BYTE + 1] + b"".join(parts)


def _listed(headers: bytes, begin: int, count: int) -> tuple[bytes, int]:
    """So many units with their sizes, and where they end."""
    end = begin
    for _ in range(count):
        end += 2 + int.from_bytes(headers[end : end + 2], "big")
    return headers[begin:end], end


def _sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit
