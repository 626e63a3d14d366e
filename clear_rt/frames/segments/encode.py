"""A fresh encoder for one segment, its packets written to a file that appears when the segment is finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from clear_rt.errors import OutputError
from clear_rt.frames.encoders import Encoder, configure
from clear_rt.frames.failures import AV_ERRORS, reason, remedy
from clear_rt.frames.feed import Feed
from clear_rt.frames.following import counts_frames
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.segments.durable import whole_file
from clear_rt.frames.segments.files import Record, SegmentFacts, SegmentSink


class Setting(NamedTuple):
    """What all segments of a video have in common; `global_header`: the headers stand in the container alone."""

    info: VideoInfo
    time_base: Fraction
    global_header: bool
    threads: int


class SegmentEncoder:
    """From the first frame of a segment on; end it by `finish` or `abandon`. Raises OutputError."""

    def __init__(self, setting: Setting, encoder: Encoder, feed: Feed, path: Path, start_frame: int) -> None:
        self._setting, self._feed = setting, feed
        context = av.CodecContext.create(encoder.name, "w")
        assert isinstance(context, VideoCodecContext)
        configure(context, encoder, setting.info, setting.time_base)
        context.thread_count = setting.threads
        if setting.global_header:
            context.flags |= Flags.global_header
        self._context = context
        self._numbered: dict[int, int] | None = {} if counts_frames(encoder.name) else None
        self._encoder, self._start_frame, self._stop_frame = encoder.name, start_frame, start_frame
        self._file, self._path = ExitStack(), path
        with self._guarded():
            self._sink = SegmentSink(self._file.enter_context(whole_file(path)))

    def write(self, frame: Frame) -> None:
        with self._feed.prepared(frame, self._context) as picture:
            self._encode(picture)
        self._stop_frame += 1

    def finish(self) -> SegmentFacts:
        """Everything is on the disk when this returns."""
        self._encode(None)
        facts = SegmentFacts(
            start_frame=self._start_frame,
            stop_frame=self._stop_frame,
            last_pts=self._sink.last_pts,
            encoder=self._encoder,
            headers=(self._context.extradata or b"").hex() if self._setting.global_header else "",
        )
        with self._guarded():
            self._sink.end(facts)
            self._file.close()
        return facts

    def abandon(self) -> None:
        """Leave nothing of the segment."""
        with suppress(_Abandoned), self._file:
            raise _Abandoned

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turns every failure to write into one OutputError; nothing of the segment is left then."""
        try:
            yield
        except OSError as error:
            self.abandon()
            raise OutputError(
                f"{self._path} could not be written: {reason(error)}; {remedy(error)}, what is finished is kept"
            ) from error

    def _encode(self, picture: av.VideoFrame | None) -> None:
        if picture is not None and self._numbered is not None:
            number = self._stop_frame - self._start_frame
            self._numbered[number] = picture.pts or 0
            picture.pts, picture.time_base = number, 1 / self._setting.info.rate
        try:
            packets = self._context.encode(picture)
        except AV_ERRORS as error:
            raise OutputError(
                f"encoding frame {self._stop_frame} with {self._encoder} failed ({reason(error)}); "
                "try another --crf, --bitrate or output container"
            ) from error
        for packet in packets:
            if packet.pts is None:
                raise OutputError(f"{self._encoder} gives packets without a time; use --encoder cpu")
            if self._numbered is not None:
                packet.pts = self._numbered.pop(packet.pts)
            data = bytes(packet)
            record = Record(packet.pts, self._feed.duration_of(packet), packet.is_keyframe, len(data))
            with self._guarded():
                self._sink.add(record, data)


class _Abandoned(Exception):
    """Ends the block of a file that is not to appear."""
