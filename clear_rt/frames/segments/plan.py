"""Where segments begin and end: settled by the source and the options before the first of them is made."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

# x264 begins anew after 250 frames of its own accord: segments of that length cost nothing.
SEGMENT_FRAMES = 250


class Segment(NamedTuple):
    """Frames `start_frame` .. `stop_frame` (exclusive), encoded anew or copied from the source."""

    start_frame: int
    stop_frame: int
    copied: bool = False


class SegmentPlan:
    """Segments of equal length without end, or those given, which follow one another from frame 0 on."""

    def __init__(self, given: Sequence[Segment] = (), segment_frames: int = SEGMENT_FRAMES) -> None:
        self._given = tuple(given)
        self._segment_frames = segment_frames
        self._starts = [segment.start_frame for segment in given]

    @property
    def total_frames(self) -> int | None:
        """None where there is no end."""
        return self._given[-1].stop_frame if self._given else None

    def at(self, frame: int) -> Segment | None:
        """The segment that holds frame index `frame`, None after the last one given."""
        if not self._given:
            start = frame - frame % self._segment_frames
            return Segment(start, start + self._segment_frames)
        return self._given[bisect_right(self._starts, frame) - 1] if frame < self._given[-1].stop_frame else None

    def until(self, total_frames: int) -> list[Segment]:
        """All segments of the first `total_frames` frames, the last of them cut at their end."""
        segments: list[Segment] = []
        at = 0
        while at < total_frames and (segment := self.at(at)) is not None:
            segments.append(segment._replace(stop_frame=min(segment.stop_frame, total_frames)))
            at = segment.stop_frame
        return segments


def split(start_frame: int, stop_frame: int, segment_frames: int) -> list[Segment]:
    """Encoded segments of at most that many frames, of nearly equal length."""
    parts = -(-(stop_frame - start_frame) // segment_frames)
    edges = [start_frame + (stop_frame - start_frame) * part // parts for part in range(parts + 1)]
    return [Segment(begin, end) for begin, end in pairwise(edges)]
