"""All that a file holds beside the samples of its pictures, for comparing the source of a removal with its result."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from clear_rt.config import ReadConfig
from clear_rt.frames import VideoInfo, probe, read
from clear_rt.frames.opening import codec_name, open_input
from clear_rt.frames.side_data import side_data_of

READ = ReadConfig()
# Written by every muxer as it likes, or true of the old encoding only.
_OF_THE_MUXER = (
    "encoder",
    "duration",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "vendor_id",
    "handler_name",
)


def facts(path: Path, config: ReadConfig = READ) -> dict[str, Any]:
    """By name, comparable where both files are of one container; times in seconds since time zero."""
    info = probe(path, config)
    pictures = [
        (frame.time_us, frame.picture.interlaced_frame, _captions(frame.picture, info.codec)) for frame in read(info)
    ]
    return {
        "codec": info.codec,
        "container": info.container,
        "bit depth": info.bit_depth,
        "size": (info.stored_width_px, info.stored_height_px),
        "turn": info.display_matrix,
        "pixel shape": info.sample_aspect_ratio,
        # A range that is not stated is that of television, but for RGB.
        "colour": replace(info.colour, range=info.colour.range or 1),
        "HDR10": info.mastering,
        "times": [time_us for time_us, *_ in pictures],
        "fields": [is_interlaced for _, is_interlaced, _ in pictures],
        "captions": [captions for *_, captions in pictures],
    } | _beside(info)


def _beside(info: VideoInfo) -> dict[str, Any]:
    video_index = info.stream_index
    with open_input(info.path, info.demuxing) as container:
        streams = list(container.streams)
        packets: dict[int, list[tuple[Fraction, bytes]]] = {
            stream.index: [] for stream in streams if stream.index != video_index and stream.type != "attachment"
        }
        for packet in container.demux([s for s in streams if s.index in packets] or None):
            if packet.size and packet.stream_index in packets:
                stamp = packet.pts if packet.pts is not None else packet.dts or 0
                packets[packet.stream_index].append((stamp * packet.time_base, bytes(packet)))
        return {
            "streams": [(s.type, codec_name(s), _kept(s.metadata)) for s in streams if s.index != video_index],
            "dispositions": [int(stream.disposition) for stream in streams],
            "tags": (_kept(container.metadata), _kept(streams[video_index].metadata)),
            "packets": list(packets.values()),
            "attachments": [(s.name, bytes(s.data)) for s in streams if s.type == "attachment"],
            "chapters": [
                (one["start"] * one["time_base"], one["end"] * one["time_base"], one["metadata"])
                for one in container.chapters()
            ],
        }


def _kept(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key.lower() not in _OF_THE_MUXER}


def _captions(picture: av.VideoFrame, codec: str) -> list[bytes]:
    return [data for kind, data in side_data_of(picture, codec) if kind == "A53_CC"]


def since_first(found: dict[str, Any]) -> dict[str, Any]:
    """The same, with times counted from the first picture, and of sound and text, too: what TS leaves of them."""
    first = Fraction(found["times"][0], 1_000_000)
    times = [time_us - found["times"][0] for time_us in found["times"]]
    packets = [[(round(time - first, 5), data) for time, data in stream] for stream in found["packets"]]
    return found | {"times": times, "packets": packets}
