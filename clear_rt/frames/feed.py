"""Frames as an encoder takes them: in its pixel format, at growing times of the file that is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.layout import layout_to_write, pixel_layout
from clear_rt.frames.views import component_views


def time_base_of(info: VideoInfo, muxer: str) -> Fraction:
    """That of the source, but for AVI.

    AVI counts frames of equal length instead of stamping them; a finer base would pad it with empty ones.
    """
    return 1 / info.rate if muxer == "avi" else info.time_base


class Feed:
    """Frames of `info` for one encoder or several in a row; `last_pts` is the time of the last frame before them."""

    def __init__(self, info: VideoInfo, time_base: Fraction, last_pts: int | None = None) -> None:
        self._info = info
        self._time_base = time_base
        self._last_pts = last_pts
        self._durations: dict[int, int] = {}

    @contextmanager
    def prepared(self, frame: Frame, context: VideoCodecContext) -> Iterator[av.VideoFrame]:
        """The next frame's picture for `context`, to be encoded within the block; `frame` is afterwards as before."""
        picture = self._relaid(frame.picture, context)
        pts, kept = self._stamp(frame), (frame.picture.pts, frame.picture.time_base)
        self._durations[pts] = round((picture.duration or 0) * self._info.time_base / self._time_base)
        picture.pict_type = 0
        picture.pts, picture.time_base = pts, self._time_base
        try:
            yield picture
        finally:
            picture.pts, picture.time_base = kept

    def duration_of(self, packet: Packet[VideoStream]) -> int:
        """The duration of the frame that `packet` shows, asked for once; what the encoder says where it has none."""
        own = packet.duration or 0
        return own if packet.pts is None else self._durations.pop(packet.pts, 0) or own

    def _relaid(self, picture: av.VideoFrame, context: VideoCodecContext) -> av.VideoFrame:
        """The picture in the encoder's pixel format: the same samples, elsewhere in memory where the formats differ."""
        expected = (self._info.stored_width_px, self._info.stored_height_px, self._info.pixel_format)
        if (picture.width, picture.height, picture.format.name) != expected:
            raise ValueError(f"expected a picture of {expected}, got {picture}")
        assert context.pix_fmt is not None
        source, layout = pixel_layout(self._info.pixel_format), layout_to_write(context.pix_fmt)
        assert source is not None
        assert layout is not None
        if layout == source:
            return picture
        relaid = av.VideoFrame(picture.width, picture.height, layout.name)
        relaid.duration = picture.duration
        relaid.color_range = context.color_range
        pairs = zip(component_views(picture, source), component_views(relaid, layout, True), strict=True)
        for old, new in pairs:
            new[...] = (old >> source.shift) << layout.shift if source.shift != layout.shift else old
        return relaid

    def _stamp(self, frame: Frame) -> int:
        pts = frame.picture.pts or 0
        if self._time_base != self._info.time_base:
            pts = round(pts * self._info.time_base / self._time_base)
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
        self._last_pts = pts
        return pts
