"""Where the picture's times begin again in a file of several recordings, found from its packets alone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from typing import Any

from av.packet import Packet

from clear_rt.frames.clock import TRIAL_FRAMES, Clock
from clear_rt.frames.info import VideoInfo

# As many as H.264 and HEVC hold back. Decoding times do not tell: FFmpeg guesses them where times begin again.
_MOST_REORDERED = 16


@dataclass(slots=True)
class Recording:
    """One of those that were joined: the file's bytes from the first to the last packet of its picture.

    `first_pts` .. `last_pts` are the times its frames have in the file, in `time_base`; `shift_s` is what they are
    moved by.
    """

    first_byte: int
    last_byte: int
    first_pts: int
    last_pts: int
    time_base: Fraction
    shift_s: Fraction = Fraction(0)

    def distance_s(self, time_s: Fraction) -> Fraction:
        """How far a time of the file is from those of the frames."""
        at = time_s / self.time_base
        return max(self.first_pts - at, at - self.last_pts, Fraction(0)) * self.time_base

    def take(self, last_byte: int, first_pts: int, last_pts: int) -> None:
        """Further packets belong to it, up to that byte and with these times."""
        self.last_byte = last_byte
        self.first_pts, self.last_pts = min(self.first_pts, first_pts), max(self.last_pts, last_pts)


class Recordings:
    """The recordings `found` so far among the packets of `info`'s video, whose pictures are shown by a `Clock`.

    Each is moved by what the clock moves its frames by, which is why the packets are given to one in the order in
    which they are shown.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.found: list[Recording] = []
        self.read_to_byte = -1
        self._clock = Clock(info.time_base, info.rate)
        self._time_base = info.time_base
        self._waiting: list[int] = []
        self._latest_pts: int | None = None
        self._frames_shown = 0
        self._shown_pts: int | None = None
        self._new: Recording | None = None

    @property
    def is_settled(self) -> bool:
        """False where the last packets may belong to a recording that is not among those `found` yet."""
        return self._new is None

    def add(self, packet: Packet[Any], byte: int) -> None:
        """The next packet in the order of decoding, which begins at `byte`."""
        self.read_to_byte = byte
        pts = packet.dts if packet.pts is None else packet.pts
        if pts is None:
            return
        if not self.found:
            self.found.append(Recording(byte, byte, pts, pts, self._time_base))
        elif self._begins_again(packet, pts):
            self.finish()
            self._new, self._frames_shown = Recording(byte, byte, pts, pts, self._time_base), 0
            self._latest_pts, self._shown_pts = pts, None
        (self._new or self.found[-1]).take(byte, pts, pts)
        self._latest_pts = pts if self._latest_pts is None else max(pts, self._latest_pts)
        heappush(self._waiting, pts)
        if len(self._waiting) > _MOST_REORDERED:
            self._show_next()
        if self._frames_shown > TRIAL_FRAMES and self._clock.is_settled:
            self._settle()

    def finish(self) -> None:
        """There are no more packets, or none of the same recording."""
        while self._waiting:
            self._show_next()
        self._settle()

    def _begins_again(self, packet: Packet[Any], pts: int) -> bool:
        """A key picture is shown after all that is decoded before it; others only after what was shown already."""
        given = self._latest_pts if packet.is_keyframe else self._shown_pts
        return given is not None and self._clock.begins_again(pts, given)

    def _show_next(self) -> None:
        self._shown_pts = heappop(self._waiting)
        self._clock.stamp(self._shown_pts)
        self._frames_shown += 1

    def _settle(self) -> None:
        if self._new is None:
            return
        self._new.shift_s = self._clock.shift * self._time_base
        if self._new.shift_s == self.found[-1].shift_s:
            self.found[-1].take(self._new.last_byte, self._new.first_pts, self._new.last_pts)
        else:
            self.found.append(self._new)
        self._new = None
