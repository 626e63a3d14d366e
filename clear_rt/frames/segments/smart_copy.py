"""Smart copy: groups of pictures without an edit keep their packets, only the others are encoded again.

What is encoded begins with an IDR picture and needs nothing of what is copied, and the other way round. A group that
is copied after an encoded one loses the pictures that are shown before its key picture: they may need the group before,
so they are encoded with that.

Both sorts of packets need parameter sets of their own: see `own_sets`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

from clear_rt.frames.copy import copyable
from clear_rt.frames.encoders import Encoder
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.nal import units
from clear_rt.frames.output import Output
from clear_rt.frames.segments.assemble import Part
from clear_rt.frames.segments.copy_source import CopySource
from clear_rt.frames.segments.edits import Edits
from clear_rt.frames.segments.gops import Cut, Gops, read_gops
from clear_rt.frames.segments.own_sets import OwnSets, own_sets
from clear_rt.frames.segments.plan import Segment, SegmentPlan, split
from clear_rt.frames.video_stream import start_as_source

_ENCODERS = {"h264": "libx264", "hevc": "libx265"}
_MUXERS = ("mp4", "mov", "matroska", "mpegts")
# Ends a sequence of HEVC pictures: what follows is decoded as if the file began there.
_END_OF_SEQUENCE = bytes([36 << 1, 1])
_START_CODE = b"\0\0\0\1"


def smart_copy(
    info: VideoInfo, target: Path, muxer: str, encoder: Encoder, edits: Edits | None, segment_frames: int
) -> SmartCopy | str:
    """How to copy what `edits` do not touch; half a sentence where that is not possible. Raises InputError."""
    if refusal := _refusal(info, target, muxer, encoder):
        return refusal
    gops = read_gops(info)
    if isinstance(gops, str):
        return gops
    if edits is None or edits.total_frames != len(gops.pts):
        shown = "an unknown number of" if edits is None else edits.total_frames
        return f"it has {len(gops.pts)} packets for {shown} frames"
    sets = own_sets(info, encoder, gops, muxer)
    if isinstance(sets, str):
        return sets
    plan = _plan(gops, edits, segment_frames)
    if not any(segment.copied for segment in plan):
        return "every group of pictures has text in it"
    return SmartCopy(info, gops, sets, plan)


def _refusal(info: VideoInfo, target: Path, muxer: str, encoder: Encoder) -> str | None:
    if info.codec not in _ENCODERS:
        return f"that is for H.264 and HEVC, and this is {info.codec}"
    if encoder.name != _ENCODERS[info.codec]:
        return f"{encoder.name} would encode it, and not {_ENCODERS[info.codec]}"
    if info.is_interlaced:
        return "it is interlaced"
    if muxer not in _MUXERS:
        return f"a {muxer} file is none of MP4, MOV, MKV and TS"
    if not copyable(info, target):
        return f"a {muxer} file does not take its packets as they are"
    return None


def _plan(gops: Gops, edits: Edits, segment_frames: int) -> list[Segment]:
    """Segments of all frames; frame numbers are those of packets, as all that precede a cut are shown before it."""
    stops = [cut.packet for cut in gops.cuts[1:]] + [len(gops.pts)]
    is_edited = [edits.touch(cut.packet, stop) for cut, stop in zip(gops.cuts, stops, strict=True)]
    plan: list[Segment] = []
    at = 0
    for i, stop in enumerate(stops):
        if i + 1 < len(stops) and is_edited[i + 1] == is_edited[i]:
            continue
        if is_edited[i]:
            # The leading pictures of the group that is copied next.
            stop += gops.cuts[i + 1].leading if i + 1 < len(stops) else 0
            plan += split(at, stop, segment_frames)
        else:
            plan.append(Segment(at, stop, copied=True))
        at = stop
    return plan


class SmartCopy:
    """A strategy for the segments of `plan`."""

    def __init__(self, info: VideoInfo, gops: Gops, sets: OwnSets, plan: list[Segment]) -> None:
        self.plan, self.encoder = SegmentPlan(plan), sets.encoder
        self._info, self._gops, self._sets = info, gops, sets
        self._source = CopySource(info)

    def start(self, output: Output) -> VideoStream:
        return start_as_source(output, self._info, self._sets.stream_headers, in_band=self._sets.in_band)

    def headers(self, stream: VideoStream) -> str | None:
        return None if self._sets.in_band else self._sets.encoder_headers.hex()

    def options(self, segment: Segment) -> dict[str, str]:
        # The open group that follows starts afresh, and decoders then forget what they have not shown yet (H.265,
        # C.5.2.2): without pictures that are decoded early there is nothing to forget.
        return {"x265-params": "bframes=0"} if self._sets.in_band and self._is_ended(segment) else {}

    def encoded(self, segment: Segment, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """In the form of the source's packets, with an end of the sequence where an open group is copied next."""
        ending = [_END_OF_SEQUENCE] if self._is_ended(segment) else []
        last = segment.stop_frame - segment.start_frame - 1
        for i, packet in enumerate(packets):
            yield self._reformed(packet, ending if i == last else [])

    def copied(self, segment: Segment) -> Part:
        cut, pts = self._cut_of(segment), self._gops.pts
        first_pts = pts[cut.packet] if segment.start_frame > cut.packet else None
        # Only the first group of them loses its leading pictures: those that come later are shown after all of it.
        chosen = [i for i in range(cut.packet, segment.stop_frame) if first_pts is None or pts[i] >= first_pts]
        return Part(pts[chosen], self._source.packets(chosen))

    def close(self) -> None:
        self._source.close()

    def _is_ended(self, segment: Segment) -> bool:
        following = self.plan.at(segment.stop_frame)
        return following is not None and following.copied and self._cut_of(following).is_open

    def _cut_of(self, segment: Segment) -> Cut:
        """Where the packets of a copied segment begin."""
        return self._gops.cuts[bisect_right(self._gops.cuts, segment.start_frame, key=lambda cut: cut.packet) - 1]

    def _reformed(self, packet: Packet[Any], ending: list[bytes]) -> Packet[Any]:
        every = [*self._sets.renumbered(units(bytes(packet), None)), *ending]
        lengths = self._gops.lengths
        before = [_START_CODE if lengths is None else len(unit).to_bytes(lengths, "big") for unit in every]
        reformed: Packet[Any] = Packet(b"".join(part for pair in zip(before, every, strict=True) for part in pair))
        reformed.pts, reformed.duration = packet.pts, packet.duration
        reformed.is_keyframe = packet.is_keyframe
        return reformed
