"""Carrying over everything that is not the picture: streams packet by packet, chapters, metadata, dispositions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from clear_rt.errors import InputError
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.joints import Joints, can_be_joined
from clear_rt.frames.opening import codec_name, codec_of, is_cover_art, open_input
from clear_rt.frames.picture_files import PICTURES_ALONE

# Written by the muxer itself, or true of the source's encoding only.
_FILE_TAGS_LEFT_OUT = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
_VIDEO_TAGS_LEFT_OUT = ("encoder", "DURATION", "BPS", "NUMBER_OF_", "_STATISTICS_", "SOURCE_ID")
MOV_FAMILY = {"mp4", "mov", "3gp"}
_COVER_ART_MUXERS = MOV_FAMILY
# MP4 fills the gaps between lines with empty ones; the muxer does so itself and would double those of the source.
_NO_TEXT = b"\0\0"
_AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_CODECS_WITH_PIXEL_SHAPE = {"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video", "png", "tiff", "mjpeg"}


class Remux:
    """The source opened a second time, its streams declared in an output, its packets fed up to a given time.

    `dropped` holds one sentence for each thing the output's container refused.
    """

    def __init__(self, source: VideoInfo, muxer: str) -> None:
        self.dropped: list[str] = []
        self._muxer = muxer
        self._source = source
        self._container = open_input(source.path, source.demuxing)
        self._outputs: dict[int, Stream] = {}
        self._packets: Iterator[Packet[Any]] = iter(())
        self._waiting: Packet[Any] | None = None
        self._last_dts: dict[int, int] = {}

    def declare(self, output: OutputContainer, video_index: int, add_video: Callable[[], object] | None) -> None:
        """Create the output's streams in the source's order; `add_video` makes the main one, None copies it too."""
        _copy_file_tags(self._container, output)
        for stream in list(self._container.streams):
            if stream.index == video_index and add_video is not None:
                add_video()
            else:
                self._declare_one(output, stream)
        if self._outputs:
            self._packets = Joints(self._source, self.report).moved(self._demux())

    def tags(self) -> dict[str, str]:
        """The source file's tags."""
        return self._container.metadata

    def start_s(self) -> float:
        """Earliest time in the source in seconds, 0 where it is not stated."""
        return (self._container.start_time or 0) / 1_000_000

    def source_video(self, index: int) -> Stream:
        """The source's stream `index`, for its tags and disposition."""
        return self._container.streams[index]

    def feed(self, output: OutputContainer, until_s: Fraction | None) -> None:
        """Mux all packets up to and including the time `until_s`; None: to the end. Raises InputError, av errors."""
        while True:
            packet = self._waiting or self._next()
            if packet is None:
                return
            if until_s is not None and _time_s(packet) > until_s:
                self._waiting = packet
                return
            self._waiting = None
            self._mux(output, packet)

    def report(self, sentence: str | None) -> None:
        """Add a sentence to `dropped`, if there is one."""
        if sentence:
            self.dropped.append(sentence)

    def close(self) -> None:
        self._container.close()

    def _demux(self) -> Iterator[Packet[Any]]:
        """The packets of all streams in the output, and of the main video where joints are told by them."""
        main = self._source.stream_index
        wanted = {*self._outputs, main} if can_be_joined(self._source) else set(self._outputs)
        if main not in wanted:
            self._container.streams[main].discard = Discard.all
        return self._container.demux([s for s in self._container.streams if s.index in wanted])

    def _next(self) -> Packet[Any] | None:
        try:
            return next((packet for packet in self._packets if packet.stream_index in self._outputs), None)
        except AV_ERRORS as error:
            raise InputError(
                f"{self._source.path} is damaged: copying its other streams stopped ({reason(error)}); "
                "copy or export it again"
            ) from error

    def _mux(self, output: OutputContainer, packet: Packet[Any]) -> None:
        index = packet.stream_index
        if self._muxer in MOV_FAMILY and _is_gap(packet):
            return
        last = self._last_dts.get(index)
        if packet.dts is not None:
            if last is not None and packet.dts < last:
                packet.dts = last
                packet.pts = max(last, packet.pts or last)
            self._last_dts[index] = packet.dts
        packet.stream = self._outputs[index]
        output.mux_one(packet)

    def _declare_one(self, output: OutputContainer, stream: Stream) -> None:
        if self._is_carried_otherwise(stream):
            return
        if is_cover_art(stream) and self._muxer == "matroska":
            self._attach_cover_art(output, stream)
            return
        refusal = _refusal(stream, self._muxer)
        if refusal:
            self.dropped.append(
                f"stream {stream.index} ({stream.type}, {codec_name(stream)}) was left out: {refusal}; "
                "give the output the source's extension to keep it"
            )
            return
        self._outputs[stream.index] = add_copy(output, stream, self._muxer)
        if isinstance(stream, VideoStream) and not is_cover_art(stream):
            self.report(lost_pixel_shape(stream.sample_aspect_ratio, codec_name(stream), self._muxer))

    def _is_carried_otherwise(self, stream: Stream) -> bool:
        """MP4 keeps chapters and time code as tracks; both come out of FFmpeg as chapters and tags as well."""
        if stream.type != "data" or "mov" not in self._container.format.name:
            return False
        return stream.discard == Discard.all or ("timecode" in stream.metadata and self._muxer in MOV_FAMILY)

    def _attach_cover_art(self, output: OutputContainer, stream: Stream) -> None:
        with open_input(self._source.path, self._source.demuxing) as again:
            packet = next(iter(again.demux(again.streams[stream.index])))
            data = bytes(packet)
        kind = "png" if codec_name(stream) == "png" else "jpeg"
        name = stream.metadata.get("filename", "cover." + kind.replace("jpeg", "jpg"))
        attached = output.add_attachment(name, stream.metadata.get("mimetype", f"image/{kind}"), data)
        attached.metadata.update(stream.metadata | {"filename": name})


def add_copy(output: OutputContainer, stream: Stream, muxer: str) -> Stream:
    """A stream in `output` with the parameters, tags and disposition of `stream`. Raises av errors and ValueError."""
    if muxer == "avi" and isinstance(stream, AudioStream) and codec_name(stream) in ("ac3", "aac"):
        copy: Stream = _described_by_encoder(output, stream)
    else:
        copy = output.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    if muxer == "mpegts" and stream.container.format.name == "mpegts":
        copy.id = stream.id
    if muxer in MOV_FAMILY and codec_name(stream) == "hevc":
        copy.codec_context.codec_tag = "hvc1"
    return copy


def _described_by_encoder(output: OutputContainer, stream: AudioStream) -> Stream:
    """A stream in AVI for the packets of `stream` as an encoder would describe it.

    AVI describes AC-3 by a size of 3840 bytes; FFmpeg's muxer, given that back, takes as many bytes for one frame,
    however many frames they are, and the sound gets a fifth of its length. Of AAC it knows no length of a frame, and
    all of them get the time 0. Raises ValueError for AAC that an encoder describes otherwise, as HE-AAC.
    """
    source, name = stream.codec_context, codec_name(stream)
    copy = output.add_stream(name, rate=source.sample_rate)
    assert isinstance(copy, AudioStream)
    context = copy.codec_context
    context.layout = source.layout
    if source.bit_rate:
        context.bit_rate = source.bit_rate
    if name == "aac" and (source.extradata or b"")[:2] != _aac_config(source.sample_rate, source.layout.nb_channels):
        raise ValueError(f"AAC is described by {source.extradata!r}")
    return copy


def _aac_config(rate_hz: int, channels: int) -> bytes:
    """The first two bytes of AAC's description (ISO/IEC 14496-3, 1.6.2.1): low complexity, a usual rate, channels."""
    number = _AAC_RATES_HZ.index(rate_hz) if rate_hz in _AAC_RATES_HZ else 15
    return (2 << 11 | number << 7 | (7 if channels == 8 else channels) << 3).to_bytes(2, "big")


def lost_pixel_shape(ratio: Fraction | None, codec: str, muxer: str) -> str | None:
    """The sentence to report where neither the codec nor, through PyAV, the container takes down non-square pixels."""
    if not ratio or ratio == 1 or muxer in (*MOV_FAMILY, "yuv4mpegpipe") or codec in _CODECS_WITH_PIXEL_SHAPE:
        return None
    return (
        f"the pixel shape {ratio.numerator}:{ratio.denominator} was left out: {codec} in {muxer} cannot say it here; "
        "give the output the extension .mp4 to keep it"
    )


def video_tags(stream: Stream) -> dict[str, str]:
    """The source video's tags without those that describe its old encoding."""
    return {key: value for key, value in stream.metadata.items() if not key.startswith(_VIDEO_TAGS_LEFT_OUT)}


def _copy_file_tags(source: InputContainer, output: OutputContainer) -> None:
    tags = {key: value for key, value in source.metadata.items() if key.lower() not in _FILE_TAGS_LEFT_OUT}
    output.metadata.update(tags)
    output.set_chapters(source.chapters())


def _refusal(stream: Stream, muxer: str) -> str | None:
    """Why `muxer` does not take `stream`, found by writing a header with it alone; None where it takes it."""
    if muxer in PICTURES_ALONE and not (muxer == "image2" and stream.container.format.name == muxer):
        return f"{muxer} holds the picture alone"
    if muxer == "image2":
        return None
    if codec_of(stream) is None and stream.type not in ("data", "attachment"):
        return "its codec is not known to this FFmpeg"
    if is_cover_art(stream) and muxer not in _COVER_ART_MUXERS:
        return f"{muxer} has no place for cover art"
    try:
        with av.open(BytesIO(), "w", format=muxer, metadata_errors="surrogateescape") as trial:
            add_copy(trial, stream, muxer)
            trial.start_encoding()
    except AV_ERRORS:
        return f"{muxer} cannot hold it"
    return None


def _is_gap(packet: Packet[Any]) -> bool:
    return packet.size == len(_NO_TEXT) and bytes(packet) == _NO_TEXT and codec_name(packet.stream) == "mov_text"


def _time_s(packet: Packet[Any]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if stamp is None else stamp * packet.time_base
