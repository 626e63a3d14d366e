"""One stream across the joints of recordings: which of them a packet is of, and when it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from av.packet import Packet
from av.stream import Stream

from clear_rt.frames.opening import codec_name
from clear_rt.frames.recordings import Recording

# A larger step back is one to another recording; in a smaller one packets are only out of order.
_STEP_S = Fraction(1, 5)
# Matroska rounds times to 1 ms: sound that begins that little before the end of the last packet does not overlap it.
_ROUNDING_S = Fraction(1, 1000)


class Track:
    """The packets of `stream` in the order of the file; `is_picture` where recordings are told apart by them.

    `report` takes a sentence where sound is left out.
    """

    def __init__(self, stream: Stream, is_picture: bool, report: Callable[[str], None]) -> None:
        self._stream, self._is_picture, self._report = stream, is_picture, report
        self._time_base = stream.time_base or Fraction(1)
        self._step = round(_STEP_S / self._time_base)
        self._rounding = round(_ROUNDING_S / self._time_base)
        self._byte = -1
        self._recording = 0
        self._shift = 0
        self._given_end: int | None = None
        self._last = self._end = 0
        self._is_joining = False
        self._left_out: tuple[int, int] | None = None

    def byte_of(self, packet: Packet[Any]) -> int:
        """Where it begins in the file, or, as parsers do not say it of all, just after the one before it."""
        self._byte = max(self._byte + 1, packet.pos or 0)
        return self._byte

    def move(self, packet: Packet[Any], byte: int, recordings: Sequence[Recording]) -> bool:
        """Give `packet` its time in the output; False where it is to be left out, as there is sound at that time."""
        dts, duration = packet.dts, packet.duration or 1
        if dts is None:
            self._move(packet)
            return True
        self._pass_joints(recordings, byte, dts, duration)
        moved = dts + self._shift
        if self._given_end is None:
            self._last, self._end = moved - 1, moved
        self._given_end = dts + duration
        if self._overlaps(moved):
            self._left_out = (self._left_out or (moved, 0))[0], moved + duration
            return False
        self.finish()
        if self._begins_again_alone(moved):
            self._shift += self._end - moved
        self._move(packet)
        return True

    def begins_again(self, packet: Packet[Any], recordings: Sequence[Recording]) -> bool:
        """Whether times do and none of `recordings` says why: the picture's may do so later in the file."""
        if packet.dts is None or self._given_end is None or self._is_picture or self._recording + 1 < len(recordings):
            return False
        return self._given_end - packet.dts > self._step

    def finish(self) -> None:
        """Report what was left out so far."""
        if self._left_out is None:
            return
        start_s, end_s = (float(at * self._time_base) for at in self._left_out)
        self._left_out = None
        what = f"stream {self._stream.index} ({self._stream.type}, {codec_name(self._stream)})"
        self._report(
            f"{end_s - start_s:.2f} s of {what} at {start_s:.2f} s were left out: recordings were joined there, and "
            "both have sound at that time; cut the file there to keep them"
        )

    def _pass_joints(self, recordings: Sequence[Recording], byte: int, dts: int, duration: int) -> None:
        if self._recording + 1 >= len(recordings):
            return
        ahead = None if self._given_end is None else dts - self._given_end
        for before, after in pairwise(recordings[self._recording :]):
            if not self._is_past(before, after, byte, dts * self._time_base, ahead, duration):
                return
            self._recording += 1
            self._shift, self._is_joining = round(after.shift_s / self._time_base), self._given_end is not None
            ahead = None

    def _is_past(
        self, before: Recording, after: Recording, byte: int, time_s: Fraction, ahead: int | None, duration: int
    ) -> bool:
        """Whether a packet belongs to `after`, when the one before it is of `before` and ends `ahead` of it.

        Streams change over at different bytes. Until the picture does, a step in time says so; behind that, only times
        that go on as those of the former recording speak against it.
        """
        if self._is_picture:
            return byte >= after.first_byte
        is_between, is_behind = byte > before.last_byte, byte >= after.first_byte
        if ahead is None:
            return is_behind or (is_between and after.distance_s(time_s) < before.distance_s(time_s))
        is_nearer = after.distance_s(time_s) <= abs(time_s - before.last_pts * before.time_base)
        if ahead < -self._step:
            return is_nearer or is_between
        if ahead < -duration:
            return is_between
        return is_nearer and (is_behind or (is_between and ahead > self._step))

    def _overlaps(self, moved: int) -> bool:
        is_sound = self._stream.type == "audio"
        return is_sound and self._is_joining and self._end - moved > self._rounding

    def _begins_again_alone(self, moved: int) -> bool:
        """Whether times begin again that the picture has no part in: then they go on where they ended."""
        if self._is_joining or self._is_picture or self._stream.type not in ("audio", "video"):
            return False
        return self._last - moved > self._step

    def _move(self, packet: Packet[Any]) -> None:
        packet.pts = None if packet.pts is None else packet.pts + self._shift
        if packet.dts is None:
            return
        packet.dts += self._shift
        if self._is_joining or (self._is_picture and self._recording):
            # The next recording may decode its first pictures earlier, as many as it reorders.
            self._is_joining = packet.dts <= self._last
            packet.dts = max(packet.dts, self._last + 1)
            packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)
        self._last, self._end = packet.dts, packet.dts + (packet.duration or 1)
