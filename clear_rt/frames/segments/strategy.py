"""What differs between encoding all segments and copying some of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from av.codec.context import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from clear_rt.frames.encoders import Encoder
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.output import Output
from clear_rt.frames.segments.assemble import Part
from clear_rt.frames.segments.plan import Segment, SegmentPlan
from clear_rt.frames.video_stream import start_with_encoder


class Strategy(Protocol):
    """How the segments of one video are put together; `encoder` has the options that all the encoded ones share."""

    plan: SegmentPlan
    encoder: Encoder

    def start(self, output: Output) -> VideoStream:
        """Declare all streams of `output` and write its header. Raises OutputError."""

    def headers(self, stream: VideoStream) -> str | None:
        """The headers that every encoded segment must have, in hexadecimal digits.

        None where they are repeated before every key picture, and segments may differ.
        """

    def options(self, segment: Segment) -> dict[str, str]:
        """What the encoder of one segment is given besides, for `with_options`."""

    def encoded(self, segment: Segment, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """The encoder's packets of a segment as the output takes them."""

    def copied(self, segment: Segment) -> Part:
        """The source's packets of a segment that is not encoded; to be asked for and consumed in order."""

    def close(self) -> None:
        """The last copied packet was consumed, or none will be."""


class EncodeAll:
    """Every segment of `plan` is encoded."""

    def __init__(self, info: VideoInfo, encoder: Encoder, plan: SegmentPlan) -> None:
        self.plan, self.encoder = plan, encoder
        self._info = info

    def start(self, output: Output) -> VideoStream:
        return start_with_encoder(output, self.encoder, self._info)

    def headers(self, stream: VideoStream) -> str | None:
        context = stream.codec_context
        return (context.extradata or b"").hex() if context.flags & Flags.global_header else None

    def options(self, segment: Segment) -> dict[str, str]:
        return {}

    def encoded(self, segment: Segment, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        return packets

    def copied(self, segment: Segment) -> Part:
        raise AssertionError(f"{segment} is not in the plan")

    def close(self) -> None:
        """There is nothing to close."""
