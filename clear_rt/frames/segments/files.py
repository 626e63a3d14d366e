"""A finished segment on the disk: its packets one after another, then an index of them, then where the index lies."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

_HEAD = b"clear_rt segment 1\n"
# Where the index begins, its length in bytes, the CRC-32 of all that stands before this, and a mark.
_TAIL = struct.Struct("<QQL4s")
_MARK = b"end\n"
_CHUNK_BYTES = 1 << 20


class Record(NamedTuple):
    """What a container is told of one packet, in the time base of the video that is written."""

    pts: int
    duration: int
    is_keyframe: bool
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFacts:
    """Frames `start_frame` .. `stop_frame` (exclusive), the time of the last one shown, and how they were encoded.

    `headers` are the encoder's in hexadecimal digits, empty where they stand in the packets.
    """

    start_frame: int
    stop_frame: int
    last_pts: int
    encoder: str
    headers: str


class SegmentSink:
    """Takes the packets of one segment and ends its file. Raises OSError."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._crc = 0
        self._at_bytes = 0
        self._records: list[Record] = []
        self._put(_HEAD)

    @property
    def last_pts(self) -> int:
        return max(record.pts for record in self._records)

    def add(self, record: Record, data: bytes) -> None:
        self._put(data)
        self._records.append(record)

    def end(self, facts: SegmentFacts) -> None:
        text = json.dumps({"facts": asdict(facts), "records": self._records}, separators=(",", ":")).encode()
        begin_bytes = self._at_bytes
        self._put(text)
        self._file.write(_TAIL.pack(begin_bytes, len(text), self._crc, _MARK))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._crc = zlib.crc32(data, self._crc)
        self._at_bytes += len(data)


def read_facts(path: Path) -> SegmentFacts | None:
    """None where there is no such file, or not every byte of it is what was written. Raises OSError."""
    try:
        with path.open("rb") as file:
            tail = _tail(file)
            if tail is None or _crc_of(file, sum(tail[:2])) != tail[2]:
                return None
            return SegmentFacts(**_index(file)["facts"])
    except FileNotFoundError:
        return None


def read_pts(path: Path) -> NDArray[np.int64]:
    """The presentation times of a whole segment's packets, in the order in which they were added. Raises OSError."""
    return np.array([record.pts for record in _records(path)], np.int64)


def read_packets(path: Path) -> Iterator[Packet[Any]]:
    """The packets of a whole segment with what was recorded of them. Raises OSError."""
    records = _records(path)
    with path.open("rb") as file:
        file.seek(len(_HEAD))
        for record in records:
            packet: Packet[Any] = Packet(file.read(record.size_bytes))
            packet.pts, packet.duration = record.pts, record.duration
            packet.is_keyframe = record.is_keyframe
            yield packet


def _records(path: Path) -> list[Record]:
    with path.open("rb") as file:
        return [Record(*record) for record in _index(file)["records"]]


def _tail(file: BinaryIO) -> tuple[int, int, int] | None:
    """Begin and length of the index, and the CRC; None where the file was cut."""
    size_bytes = file.seek(0, 2)
    if size_bytes < _TAIL.size:
        return None
    file.seek(size_bytes - _TAIL.size)
    begin_bytes, length_bytes, crc, mark = _TAIL.unpack(file.read(_TAIL.size))
    is_whole = mark == _MARK and begin_bytes + length_bytes + _TAIL.size == size_bytes
    return (begin_bytes, length_bytes, crc) if is_whole else None


def _index(file: BinaryIO) -> dict[str, Any]:
    tail = _tail(file)
    if tail is None:
        raise OSError(f"{file.name} was changed while it was read")
    file.seek(tail[0])
    index: dict[str, Any] = json.loads(file.read(tail[1]))
    return index


def _crc_of(file: BinaryIO, length_bytes: int) -> int:
    crc, left_bytes = 0, length_bytes
    file.seek(0)
    while left_bytes and (chunk := file.read(min(left_bytes, _CHUNK_BYTES))):
        crc, left_bytes = zlib.crc32(chunk, crc), left_bytes - len(chunk)
    return crc
