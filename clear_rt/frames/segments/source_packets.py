"""The packets of a video without their pictures: how large they are and when they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from clear_rt.errors import InputError
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.opening import open_input


@dataclass(frozen=True, slots=True)
class SourcePackets:
    """Packets in the order in which they are shown: `sizes_bytes` int64 [N], `times_s` float64 [N + 1], growing.

    The last time is the end of the last packet. Where two packets make one frame, `per_frame` is 2.
    """

    sizes_bytes: NDArray[np.int64]
    times_s: NDArray[np.float64]
    per_frame: int = 1

    @property
    def bits_per_s(self) -> float:
        """The average over the whole video; 0 where it has no packets."""
        return self.between(0, None)

    def between(self, start_frame: int, stop_frame: int | None) -> float:
        """The average over some frames, None: to the end; over the whole video where it has no such frames."""
        count = len(self.sizes_bytes)
        start = start_frame * self.per_frame
        stop = count if stop_frame is None else min(count, stop_frame * self.per_frame)
        if start >= stop:
            start, stop = 0, count
        seconds = self.times_s[stop] - self.times_s[start]
        return float(8 * self.sizes_bytes[start:stop].sum() / seconds) if seconds > 0 else 0.0


def source_packets(info: VideoInfo) -> SourcePackets:
    """Read all packets of the video of `info` once, decoding nothing. Raises InputError."""
    stamps: list[int] = []
    sizes: list[int] = []
    duration = 0
    with open_input(info.path, info.demuxing) as container:
        try:
            for packet in container.demux(container.streams[info.stream_index]):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if packet.size:
                    stamps.append(stamp if stamp is not None else stamps[-1] + 1 if stamps else 0)
                    sizes.append(packet.size)
                    duration = packet.duration or duration
        except AV_ERRORS as error:
            raise InputError(f"{info.path} is damaged ({reason(error)}); copy or export it again") from error
    order = np.argsort(np.asarray(stamps, np.int64), kind="stable")
    times = np.asarray(stamps, np.int64)[order]
    step_s = float(duration * info.time_base if duration else 1 / info.rate)
    times_s = times * float(info.time_base)
    end_s = times_s[-1:] + step_s
    return SourcePackets(np.asarray(sizes, np.int64)[order], np.concatenate([times_s, end_s]), _per_frame(info, stamps))


def _per_frame(info: VideoInfo, stamps: list[int]) -> int:
    """2 where an interlaced video has its fields in packets of their own: twice as many as its rate asks for."""
    if not info.is_interlaced or len(stamps) < 4:
        return 1
    seconds = Fraction(max(stamps) - min(stamps)) * info.time_base
    return 2 if seconds and len(stamps) / seconds > Fraction(3, 2) * info.rate else 1
