"""Streams that stay together where recordings were joined: each is moved by what the picture is moved by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from av.packet import Packet

from clear_rt.frames.info import VideoInfo
from clear_rt.frames.recordings import Recordings
from clear_rt.frames.track import Track

# Where another file was appended to one of these FFmpeg reads on, and their streams lie side by side.
_APPENDABLE = {"mpegts", "mpeg", "matroska,webm"}
# Until the picture is found that says which recording a packet is of: 5 s of the picture and two tracks of sound.
_MOST_HELD = 500


def can_be_joined(info: VideoInfo) -> bool:
    """Whether the packets of its video are needed to tell where recordings were joined."""
    return info.container in _APPENDABLE


class _Held(NamedTuple):
    packet: Packet[Any]
    byte: int


class Joints:
    """Passes on the packets of `info`'s streams, moved in time; `report` takes a sentence for what is left out.

    Packets of the video say where recordings were joined; where there are none, every stream is on its own.
    """

    def __init__(self, info: VideoInfo, report: Callable[[str], None]) -> None:
        self._info, self._report = info, report
        self._recordings = Recordings(info)
        self._tracks: dict[int, Track] = {}

    def moved(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        """In the order they come, at most `_MOST_HELD` later. Raises what reading `packets` raises."""
        held: deque[_Held] = deque()
        for packet in packets:
            if not packet.size and packet.dts is None:
                continue
            held.append(_Held(packet, self._track(packet).byte_of(packet)))
            if self._is_picture(packet):
                self._recordings.add(packet, held[-1].byte)
            while held and (self._is_known(held[0]) or len(held) > _MOST_HELD):
                yield from self._move(held.popleft())
        self._recordings.finish()
        while held:
            yield from self._move(held.popleft())
        for track in self._tracks.values():
            track.finish()

    def _track(self, packet: Packet[Any]) -> Track:
        index = packet.stream_index
        if index not in self._tracks:
            self._tracks[index] = Track(packet.stream, self._is_picture(packet), self._report)
        return self._tracks[index]

    def _is_picture(self, packet: Packet[Any]) -> bool:
        return packet.stream_index == self._info.stream_index and can_be_joined(self._info)

    def _is_known(self, held: _Held) -> bool:
        """Whether the picture was read to where this packet is of, or there is no picture to wait for."""
        if not can_be_joined(self._info):
            return True
        recordings, track = self._recordings, self._track(held.packet)
        if not recordings.is_settled or track.begins_again(held.packet, recordings.found):
            return False
        read_to = recordings.read_to_byte
        return held.byte < read_to or (held.byte == read_to and self._is_picture(held.packet))

    def _move(self, held: _Held) -> Iterator[Packet[Any]]:
        if self._track(held.packet).move(held.packet, held.byte, self._recordings.found):
            yield held.packet
