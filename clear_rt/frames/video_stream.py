"""The main video stream of an output: how it is declared, and what is said of it beside its packets."""

from __future__ import annotations

from collections.abc import Callable

from av.stream import Stream
from av.video.stream import VideoStream

from clear_rt.frames.encoders import Encoder, configure
from clear_rt.frames.feed import time_base_of
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.output import Output
from clear_rt.frames.picture_files import lost_times
from clear_rt.frames.remux import MOV_FAMILY, add_copy, lost_pixel_shape, video_tags
from clear_rt.frames.writable import KEEPS_ORIENTATION


def start_with_encoder(output: Output, encoder: Encoder, info: VideoInfo) -> VideoStream:
    """Declare all streams of `output` and write its header; the video is what `encoder` makes. Raises OutputError."""

    def add(source: Stream) -> VideoStream:
        stream = output.container.add_stream(encoder.name, rate=info.rate)
        assert isinstance(stream, VideoStream)
        configure(stream.codec_context, encoder, info, time_base_of(info, output.muxer))
        stream.time_base = time_base_of(info, output.muxer)
        stream.metadata.update(video_tags(source))
        stream.disposition = source.disposition
        if info.display_matrix and output.muxer in KEEPS_ORIENTATION:
            stream.set_display_matrix(info.display_matrix)
        return stream

    return _start(output, info, add)


def start_as_source(output: Output, info: VideoInfo, headers: bytes, *, in_band: bool) -> VideoStream:
    """The same; the video is described as that of the source is, by the parameter sets in `headers`.

    `in_band` where others may stand in the packets.
    """

    def add(source: Stream) -> VideoStream:
        stream = add_copy(output.container, source, output.muxer)
        assert isinstance(stream, VideoStream)
        if headers:
            stream.codec_context.extradata = headers
        if in_band and info.codec == "hevc" and output.muxer in MOV_FAMILY:
            stream.codec_context.codec_tag = "hev1"
        return stream

    return _start(output, info, add)


def _start(output: Output, info: VideoInfo, add: Callable[[Stream], VideoStream]) -> VideoStream:
    added: list[VideoStream] = []
    source = output.remux.source_video(info.stream_index)
    output.remux.declare(output.container, info.stream_index, lambda: added.append(add(source)))
    if info.has_side_alpha:
        output.remux.report("the video's transparency was left out: it is stored beside the picture")
    stream = added[0]
    codec = stream.codec_context.codec.canonical_name
    output.remux.report(lost_times(info, output.muxer))
    output.remux.report(lost_pixel_shape(info.sample_aspect_ratio, codec, output.muxer))
    with output.guarded():
        output.container.start_encoding()
    return stream
