"""The source's video packets, some of them, in decoding order."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from av.packet import Packet

from clear_rt.errors import InputError
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.opening import open_input


class CopySource:
    """One pass over the packets of `info`, from which several lists of them are taken one after another."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._passing: Generator[tuple[int, Packet[Any]], None, None] | None = None

    def packets(self, numbers: list[int]) -> Iterator[Packet[Any]]:
        """Those packets, by growing numbers, all larger than any before. Raises InputError."""
        if self._passing is None:
            self._passing = self._pass()
        wanted = iter(numbers)
        number = next(wanted, None)
        while number is not None:
            at, packet = next(self._passing, (None, None))
            if packet is None:
                raise InputError(f"{self._info.path} has fewer packets than before; leave it alone while it is read")
            if at == number:
                number = next(wanted, None)
                yield packet

    def close(self) -> None:
        """The next packets come from the beginning again."""
        if self._passing is not None:
            self._passing.close()
            self._passing = None

    def _pass(self) -> Generator[tuple[int, Packet[Any]], None, None]:
        with open_input(self._info.path, self._info.demuxing) as container:
            stream = container.streams[self._info.stream_index]
            try:
                yield from enumerate(packet for packet in container.demux(stream) if packet.size)
            except AV_ERRORS as error:
                raise InputError(f"{self._info.path} is damaged ({reason(error)}); copy or export it again") from error
