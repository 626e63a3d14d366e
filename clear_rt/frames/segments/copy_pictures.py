"""Numbered pictures without an edit are copied, file by file, and only the others are encoded again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from clear_rt.frames.encoders import Encoder
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.output import Output
from clear_rt.frames.segments.assemble import Part
from clear_rt.frames.segments.copy_source import CopySource
from clear_rt.frames.segments.edits import Edits
from clear_rt.frames.segments.plan import Segment, SegmentPlan, split
from clear_rt.frames.video_stream import start_as_source


class CopyPictures:
    """A strategy for pictures that `encoder` writes as the source has them."""

    def __init__(self, info: VideoInfo, encoder: Encoder, edits: Edits, segment_frames: int) -> None:
        self.plan, self.encoder = SegmentPlan(_plan(edits, segment_frames)), encoder
        self._info, self._source = info, CopySource(info)

    def start(self, output: Output) -> VideoStream:
        return start_as_source(output, self._info, b"", in_band=False)

    def headers(self, stream: VideoStream) -> str | None:
        return None

    def options(self, segment: Segment) -> dict[str, str]:
        return {}

    def encoded(self, segment: Segment, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        return packets

    def copied(self, segment: Segment) -> Part:
        numbers = range(segment.start_frame, segment.stop_frame)
        return Part(np.asarray(numbers, np.int64), self._source.packets(list(numbers)))

    def close(self) -> None:
        self._source.close()


def _plan(edits: Edits, segment_frames: int) -> list[Segment]:
    plan: list[Segment] = []
    at = 0
    for start, stop in sorted(edits.ranges):
        start, stop = max(start, at), min(stop, edits.total_frames)
        if start < stop:
            plan += [Segment(at, start, copied=True)] if at < start else []
            plan += split(start, stop, segment_frames)
            at = stop
    return [*plan, Segment(at, edits.total_frames, copied=True)] if at < edits.total_frames else plan
