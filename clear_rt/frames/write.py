"""`Writer`: the frames encoded again, everything else carried over, the target replaced only when all is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.packet import Packet
from av.video.stream import VideoStream

from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames.encoders import configure
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.output import Output
from clear_rt.frames.remux import lost_pixel_shape, video_tags
from clear_rt.frames.views import component_views
from clear_rt.frames.writable import KEEPS_ORIENTATION, settle


class Writer:
    """Context manager. Leaving it normally completes `target`; leaving it by any exception leaves no trace of it.

    Raises OutputError and EngineError (what `check_writable` refuses, space, failures while writing) and InputError
    (other streams of the source are damaged). `dropped_streams` holds a sentence for each stream the container could
    not take.
    """

    def __init__(self, source: VideoInfo, target: Path | str, config: WriteConfig) -> None:
        self._info = source
        self._target = Path(target)
        self._config = config
        self._output: Output | None = None
        self._durations: dict[int, int] = {}
        self._last_pts: int | None = None
        self.frames_written = 0

    def __enter__(self) -> Self:
        self._encoder = settle(self._info, self._target, self._config)
        self._output = Output(self._info, self._target)
        try:
            self._start(self._output)
        except BaseException:
            self._output.abandon()
            raise
        return self

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder in use, for example "libx264"; known once the context was entered."""
        return self._encoder.name

    @property
    def why_not_gpu(self) -> str | None:
        """Half a sentence where NVENC would have been taken and could not be; known once the context was entered."""
        return self._encoder.why_not_gpu

    @property
    def dropped_streams(self) -> tuple[str, ...]:
        return tuple(self._output.remux.dropped) if self._output else ()

    def write(self, frame: Frame) -> None:
        """Encode the next frame, and copy what the other streams hold up to its time."""
        output = self._open_output()
        picture = self._relaid(frame.picture)
        pts, kept = self._stamp(frame), (frame.picture.pts, frame.picture.time_base)
        self._durations[pts] = round((picture.duration or 0) * self._info.time_base / self._time_base)
        picture.pict_type = 0
        picture.pts, picture.time_base = pts, self._time_base
        try:
            self._mux(output, picture)
        finally:
            picture.pts, picture.time_base = kept
        self.frames_written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        output = self._open_output()
        if kind is not None:
            output.abandon()
            return
        try:
            if not self.frames_written:
                raise OutputError(f"{self._target} was not written because it got no frame; check the input")
            self._mux(output, None)
            with output.guarded():
                output.remux.feed(output.container, None)
            output.finish()
        except BaseException:
            output.abandon()
            raise

    def _open_output(self) -> Output:
        if self._output is None:
            raise RuntimeError("Writer is a context manager: use it in a with statement")
        return self._output

    def _start(self, output: Output) -> None:
        info = self._info
        self._layout = pixel_layout(self._encoder.pixel_format)
        # AVI counts frames of equal length instead of stamping them; a finer base would pad it with empty ones.
        self._time_base = 1 / info.rate if output.muxer == "avi" else info.time_base
        output.remux.declare(output.container, info.stream_index, lambda: self._add_video(output))
        if info.has_side_alpha:
            output.remux.report("the video's transparency was left out: it is stored beside the picture")
        codec = self._stream.codec_context.codec.canonical_name
        output.remux.report(lost_pixel_shape(info.sample_aspect_ratio, codec, output.muxer))
        with output.guarded():
            output.container.start_encoding()

    def _add_video(self, output: Output) -> None:
        stream = output.container.add_stream(self._encoder.name, rate=self._info.rate)
        assert isinstance(stream, VideoStream)
        configure(stream.codec_context, self._encoder, self._info, self._time_base)
        stream.time_base = self._time_base
        source = output.remux.source_video(self._info.stream_index)
        stream.metadata.update(video_tags(source))
        stream.disposition = source.disposition
        if self._info.display_matrix and output.muxer in KEEPS_ORIENTATION:
            stream.set_display_matrix(self._info.display_matrix)
        self._stream = stream

    def _relaid(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture in the encoder's pixel format: the same samples, elsewhere in memory where the formats differ."""
        expected = (self._info.stored_width_px, self._info.stored_height_px, self._info.pixel_format)
        if (picture.width, picture.height, picture.format.name) != expected:
            raise ValueError(f"expected a picture of {expected}, got {picture}")
        source = pixel_layout(self._info.pixel_format)
        assert source is not None
        assert self._layout is not None
        if self._layout == source:
            return picture
        relaid = av.VideoFrame(picture.width, picture.height, self._layout.name)
        relaid.duration = picture.duration
        relaid.color_range = self._stream.codec_context.color_range
        pairs = zip(component_views(picture, source), component_views(relaid, self._layout, True), strict=True)
        for old, new in pairs:
            new[...] = (old >> source.shift) << self._layout.shift if source.shift != self._layout.shift else old
        return relaid

    def _stamp(self, frame: Frame) -> int:
        pts = frame.picture.pts or 0
        if self._time_base != self._info.time_base:
            pts = round(pts * self._info.time_base / self._time_base)
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
        self._last_pts = pts
        return pts

    def _mux(self, output: Output, picture: av.VideoFrame | None) -> None:
        try:
            packets = self._stream.encode(picture)
        except AV_ERRORS as error:
            raise OutputError(
                f"encoding frame {self.frames_written} with {self._encoder.name} failed ({reason(error)}); "
                "try another --crf or output container"
            ) from error
        with output.guarded():
            for packet in packets:
                until_s = self._finish_packet(packet)
                output.container.mux_one(packet)
                output.remux.feed(output.container, until_s)

    def _finish_packet(self, packet: Packet[VideoStream]) -> Fraction:
        if packet.pts is not None:
            packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
        return (packet.dts or 0) * self._time_base
