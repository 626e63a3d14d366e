"""`probe`: one decoded frame and the headers, turned into a VideoInfo."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from clear_rt.config import ReadConfig
from clear_rt.errors import InputError
from clear_rt.frames.byte_order import NativeOrder
from clear_rt.frames.demuxing import Demuxing, demuxing_of
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.info import Colour, Mastering, StreamInfo, VideoInfo
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.nal import stated_level
from clear_rt.frames.opening import codec_name, main_video, open_input
from clear_rt.frames.orientation import Orientation
from clear_rt.frames.side_data import side_data_of

READ = ReadConfig()
_US = 1_000_000
_MOST_PACKETS_TO_TRY = 2_000
_FALLBACK_RATE = Fraction(25)
# Containers whose header states a duration; elsewhere (TS, PS, raw streams) FFmpeg guesses it from what is there.
_STATE_DURATION = {"mov", "matroska", "avi", "asf", "flv", "mxf", "nut", "image2"}
# Their duration counts from time zero, whatever the first frame's time. Of Matroska that holds as FFmpeg writes it;
# others subtract the start, and then nothing but a small loss goes unnoticed.
_DURATION_FROM_ZERO = {"matroska", "nut", "asf"}
_MKV_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


def probe(path: Path | str, config: ReadConfig = READ) -> VideoInfo:
    """Describe the video in `path` by its header and its first frame.

    `path` may be a pattern of numbered pictures, `frames/%05d.png`; `config` says what they or raw pictures leave out.
    Raises InputError where it is missing, a directory, empty, no video, sound only, damaged from the start, or in a
    pixel format we cannot view as planes (palette, bit-packed, floating point), and as `demuxing_of`.
    """
    path = Path(path)
    demuxing = demuxing_of(path, config)
    with open_input(path, demuxing) as container:
        stream = main_video(path, container)
        picture = NativeOrder()(_first_picture(path, container, stream))
        return _describe(path, demuxing, container, stream, picture)


def _first_picture(path: Path, container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    failure: BaseException | None = None
    stream.codec_context.thread_count = 1
    try:
        for count, packet in enumerate(container.demux(stream)):
            try:
                pictures = packet.decode()
            except AV_ERRORS as error:
                failure, pictures = error, []
            if pictures:
                return pictures[0]
            if count > _MOST_PACKETS_TO_TRY:
                break
    except AV_ERRORS as error:
        failure = error
    cause = f" ({reason(failure)})" if failure else ""
    raise InputError(
        f"{path} has a {stream.codec_context.name} video track, but no frame of it can be decoded{cause}; "
        "the file is cut short or damaged, copy or export it again"
    )


def _describe(
    path: Path, demuxing: Demuxing, container: InputContainer, stream: VideoStream, picture: av.VideoFrame
) -> VideoInfo:
    layout = pixel_layout(picture.format.name)
    if layout is None:
        raise InputError(
            f"pixel format {picture.format.name} of {path} is not supported (YUV, RGB and grey of 8 to 16 bits are); "
            "convert the video to yuv420p first"
        )
    time_base = stream.time_base or Fraction(1, _US)
    rate = stream.average_rate or stream.guessed_rate or _FALLBACK_RATE
    declared_end_us = _declared_end_us(container, stream)
    duration_us = _duration_us(container, stream, declared_end_us)
    beside = dict(side_data_of(picture, stream.codec_context.codec.canonical_name))
    matrix = _display_matrix(beside)
    ratio = stream.sample_aspect_ratio or Fraction(1)
    return VideoInfo(
        path=path,
        demuxing=demuxing,
        container=container.format.name,
        stream_index=stream.index,
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=layout.name,
        bit_depth=layout.bits,
        stored_width_px=picture.width,
        stored_height_px=picture.height,
        orientation=Orientation.from_matrix(matrix) if matrix else Orientation(),
        display_matrix=matrix,
        sample_aspect_ratio=ratio if ratio > 0 else Fraction(1),
        rate=rate,
        time_base=time_base,
        start_us=round((stream.start_time or 0) * time_base * _US),
        duration_us=duration_us,
        declared_end_us=declared_end_us,
        frames_estimate=stream.frames or (round(duration_us * rate / _US) if duration_us else None),
        colour=Colour(picture.color_range, picture.color_primaries, picture.color_trc, picture.colorspace),
        mastering=_mastering(beside),
        is_vfr=bool(stream.base_rate and stream.average_rate and stream.base_rate != stream.average_rate),
        is_interlaced=picture.interlaced_frame,
        has_side_alpha=stream.metadata.get("alpha_mode") == "1" and layout.components[-1].kind != "alpha",
        other_streams=tuple(_stream_info(s) for s in container.streams if s.index != stream.index),
        profile=stream.codec_context.profile,
        level=stated_level(stream.codec_context.codec.canonical_name, stream.codec_context.extradata or b""),
    )


def _stream_info(stream: Stream) -> StreamInfo:
    return StreamInfo(stream.index, stream.type, codec_name(stream))


def _declared_end_us(container: InputContainer, stream: VideoStream) -> int | None:
    if not _is_one_of(container, _STATE_DURATION):
        return None
    from_zero = _is_one_of(container, _DURATION_FROM_ZERO)
    if stream.duration and stream.time_base:
        start = 0 if from_zero else stream.start_time or 0
        return round((start + stream.duration) * stream.time_base * _US)
    if match := _MKV_DURATION.match(stream.metadata.get("DURATION", "")):
        return round((int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3])) * _US)
    if container.duration:
        return (0 if from_zero else container.start_time or 0) + container.duration
    return None


def _duration_us(container: InputContainer, stream: VideoStream, end_us: int | None) -> int | None:
    if end_us and _is_one_of(container, _DURATION_FROM_ZERO):
        return max(0, end_us - round((stream.start_time or 0) * (stream.time_base or 0) * _US)) or None
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * _US)
    return container.duration or None


def _is_one_of(container: InputContainer, names: set[str]) -> bool:
    """Whether one of `names` is among the names of the container's format, for example "mov,mp4,m4a"."""
    return not names.isdisjoint(container.format.name.split(","))


def _display_matrix(beside: dict[str, bytes]) -> tuple[int, ...] | None:
    data = beside.get("DISPLAYMATRIX")
    return None if data is None else struct.unpack("=9i", data[:36])


def _mastering(beside: dict[str, bytes]) -> Mastering:
    display = light = None
    if data := beside.get("MASTERING_DISPLAY_METADATA"):
        display = _mastering_display(data)
    if data := beside.get("CONTENT_LIGHT_LEVEL"):
        light = "{},{}".format(*struct.unpack("=2I", data[:8]))
    return Mastering(display, light)


def _mastering_display(data: bytes) -> str | None:
    """AVMasteringDisplayMetadata: 3 primaries (R, G, B), white point, min and max luminance as rationals, two flags."""
    values = struct.unpack("=22i", data[:88])
    if not all(values[20:22]) or not all(values[1:20:2]):
        return None
    numbers = [Fraction(values[i], values[i + 1]) for i in range(0, 20, 2)]
    r, g, b, white = [tuple(round(v * 50_000) for v in numbers[i : i + 2]) for i in range(0, 8, 2)]
    low, high = (round(v * 10_000) for v in numbers[8:10])
    points = "".join(f"{name}({x},{y})" for name, (x, y) in (("G", g), ("B", b), ("R", r), ("WP", white)))
    return f"{points}L({high},{low})"
