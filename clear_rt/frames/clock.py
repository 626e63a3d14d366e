"""Time stamps: where the decoder has them from, and that they always grow."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import av
from av.packet import Packet
from av.video.stream import VideoStream


class Clock:
    """Turns the stamps a decoder gives (missing, doubled, jumping back) into strictly growing ones, changing few."""

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.step = max(1, round(1 / (rate * time_base)))
        self._last: int | None = None

    def stamp(self, pts: int | None) -> int:
        """`pts` where it grows; one tick more than the last where it is doubled; one frame more where there is none."""
        if self._last is None:
            self._last = pts or 0
        elif pts is None or pts < self._last - self.step:
            self._last += self.step
        else:
            self._last = max(pts, self._last + 1)
        return self._last


class FileOrder:
    """Stamps of the packets of an AVI file, for its pictures; does nothing for other containers.

    AVI stamps packets in file order only; shown in that order, the n-th picture out belongs to the n-th stamp.
    """

    def __init__(self, container: str) -> None:
        self._stamps: deque[int] | None = deque() if container == "avi" else None

    def add(self, packet: Packet[VideoStream]) -> None:
        if self._stamps is not None and packet.dts is not None:
            self._stamps.append(packet.dts)

    def stamp(self, picture: av.VideoFrame) -> None:
        if self._stamps is not None:
            picture.pts = self._stamps.popleft() if self._stamps else None
