"""The units that H.264 and HEVC packets are made of, with start codes or with lengths before them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_START = re.compile(b"\0\0\1")
_ESCAPED = re.compile(b"\0\0\3")


class Syntax(NamedTuple):
    """How a codec's units tell what they are: `sets` are the kinds of its parameter sets, `needed` of them always.

    Nothing after an `idr` picture looks back past it; pictures that are shown before a `cra` picture may. `level_byte`
    is where an SPS states the level.
    """

    kind: Callable[[bytes], int]
    sets: frozenset[int]
    needed: frozenset[int]
    sps: int
    pps: int
    idr: frozenset[int]
    cra: int | None
    level_byte: int


# ITU-T H.264 table 7-1, H.265 table 7-1.
H264 = Syntax(
    lambda unit: unit[0] & 0x1F,
    frozenset((7, 8, 13)),
    frozenset((7, 8)),
    sps=7,
    pps=8,
    idr=frozenset((5,)),
    cra=None,
    level_byte=3,
)
HEVC = Syntax(
    lambda unit: unit[0] >> 1 & 0x3F,
    frozenset((32, 33, 34)),
    frozenset((32, 33, 34)),
    sps=33,
    pps=34,
    idr=frozenset((19, 20)),
    cra=21,
    level_byte=14,
)
SYNTAX = {"h264": H264, "hevc": HEVC}


def length_bytes(codec: str, headers: bytes) -> int | None:
    """How long the lengths before units are in a stream with these headers; None where there are start codes."""
    if len(headers) < 7 or headers[:3] == b"\0\0\1" or headers[:4] == b"\0\0\0\1" or headers[0] != 1:
        return None
    if codec == "h264":
        return (headers[4] & 3) + 1
    return (headers[21] & 3) + 1 if len(headers) > 22 else None


def units(data: bytes, lengths: int | None) -> Iterator[bytes]:
    """The units of a packet, without what stands before them; the rest of damaged data is left out."""
    if lengths is None:
        yield from _after_start_codes(data)
        return
    at = 0
    while at + lengths <= len(data):
        size = int.from_bytes(data[at : at + lengths], "big")
        at += lengths
        if not size or at + size > len(data):
            return
        yield data[at : at + size]
        at += size


def header_units(codec: str, headers: bytes) -> list[bytes]:
    """The parameter sets in a stream's headers, in their order."""
    if length_bytes(codec, headers) is None:
        return list(_after_start_codes(headers))
    return list(_of_avcc(headers) if codec == "h264" else _of_hvcc(headers))


def stated_level(codec: str, headers: bytes) -> int | None:
    """The level in the first SPS of a stream's headers, None where there is none."""
    syntax = SYNTAX.get(codec)
    if syntax is None:
        return None
    for unit in header_units(codec, headers):
        payload = unescaped(unit)
        if syntax.kind(unit) == syntax.sps and len(payload) > syntax.level_byte:
            return payload[syntax.level_byte]
    return None


def unescaped(unit: bytes) -> bytes:
    """The unit without the bytes that keep start codes out of it."""
    return _ESCAPED.sub(b"\0\0", unit)


def _after_start_codes(data: bytes) -> Iterator[bytes]:
    marks = [match.start() for match in _START.finditer(data)]
    for begin, end in zip(marks, [*marks[1:], len(data)], strict=True):
        if unit := data[begin + 3 : end].rstrip(b"\0"):
            yield unit


def _of_avcc(headers: bytes) -> Iterator[bytes]:
    at = 5
    for mask in (0x1F, 0xFF):
        if at >= len(headers):
            return
        count, at = headers[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(headers[at : at + 2], "big")
            yield headers[at + 2 : at + 2 + size]
            at += 2 + size


def _of_hvcc(headers: bytes) -> Iterator[bytes]:
    at = 23
    for _ in range(headers[22]):
        count, at = int.from_bytes(headers[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            size = int.from_bytes(headers[at : at + 2], "big")
            yield headers[at + 2 : at + 2 + size]
            at += 2 + size
