"""Time stamps: where the decoder has them from, and that they always grow."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import av
from av.packet import Packet
from av.video.stream import VideoStream

# A step back that is over within as many frames was a wrong stamp or a wrong order.
TRIAL_FRAMES = 8
# TS and PS count to 2^33; FFmpeg adds as much to what begins before the file's first time, a joined recording too.
_MPEG_TIME_BASE, _MPEG_FAR = Fraction(1, 90_000), 1 << 32


class Clock:
    """Turns the stamps a decoder gives (missing, doubled, jumping back) into strictly growing ones, changing few.

    Where they begin again, as in recordings that were joined, all that follow are moved by the same `shift`, in ticks.
    `given` is the last stamp as it was.
    """

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.step = max(1, round(1 / (rate * time_base)))
        self.shift = 0
        self._far = _MPEG_FAR if time_base == _MPEG_TIME_BASE else None
        self._last: int | None = None
        self.given = 0
        self._before = 0, 0
        self._trial_frames = 0

    @property
    def is_settled(self) -> bool:
        """False within the first frames after a step back: `shift` may still become what it was before."""
        return not self._trial_frames

    def stamp(self, pts: int | None) -> int:
        """`pts` and `shift` where that grows; one tick more than the last where it is doubled.

        One frame more than the last where there is none, where it stays the same and where times begin again; half a
        frame more until the last is caught up with.
        """
        if self._last is None:
            self.given = self._last = pts or 0
        elif pts is None:
            self._last += self.step
        else:
            self._follow(pts, self._last)
            moved = pts + self.shift
            if moved < self._last - self.step:
                moved = self._last + (self.step if pts <= self.given else self.step // 2)
            self._last, self.given = max(moved, self._last + 1), pts
        return self._last

    def begins_again(self, pts: int, given: int) -> bool:
        """Whether `pts` cannot follow `given` in one recording: it is more than a frame before it, or a wrap after."""
        return pts < given - self.step or (self._far is not None and pts > given + self._far)

    def _follow(self, pts: int, last: int) -> None:
        given, shift = self._before
        self._trial_frames = max(0, self._trial_frames - 1)
        steps_back = self.begins_again(pts, self.given)
        leaps = steps_back or 2 * (pts - self.given) > 3 * self.step
        if leaps and not self.is_settled and 0 < pts - given < 2 * TRIAL_FRAMES * self.step:
            self.shift, self._trial_frames = shift, 0
        elif steps_back:
            if self.is_settled:
                self._before = self.given, self.shift
            self.shift, self._trial_frames = last + self.step - pts, TRIAL_FRAMES


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
