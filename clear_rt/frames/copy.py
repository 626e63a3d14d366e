"""`copy`: every packet of a file into another, nothing decoded."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from clear_rt.errors import OutputError
from clear_rt.frames.atomic import muxer_for
from clear_rt.frames.failures import AV_ERRORS
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.opening import open_input
from clear_rt.frames.output import Output
from clear_rt.frames.picture_files import same_pictures
from clear_rt.frames.probe import probe
from clear_rt.frames.remux import add_copy
from clear_rt.frames.writable import keeps_orientation

_PACKETS_TO_TRY = 3
_MOST_PACKETS_BEFORE_A_KEY_FRAME = 2_000


def copyable(info: VideoInfo, target: Path) -> bool:
    """Whether `copy` can carry the picture of `info` into the container of `target` as it is.

    False where the container cannot say how the picture is turned, where only one of the two is AVI, and where the
    first packets do not come back from it as the same kind of picture. Numbered pictures are copied into numbered
    pictures only. Raises OutputError for an unknown container.
    """
    muxer = muxer_for(target)
    if muxer == "image2" or info.demuxing.sequence is not None:
        return same_pictures(info, target, muxer)
    return keeps_orientation(info, muxer) and _stamps_agree(info, muxer) and _comes_back(info, muxer)


def copy(source: VideoInfo | Path | str, target: Path | str) -> tuple[str, ...]:
    """Copy all streams, chapters and tags of `source` packet by packet; returns a sentence for each stream left out.

    The rule of `Writer` holds: the target is replaced when all is written, and not touched before.
    Ask `copyable` first. Raises InputError (no video, damaged source) and OutputError (folder, permission, space,
    container, rotation or mirroring that it cannot say).
    """
    info = source if isinstance(source, VideoInfo) else probe(source)
    output = Output(info, Path(target))
    try:
        _check_stamps(info, output.muxer, Path(target))
        output.remux.declare(output.container, -1, None)
        with output.guarded():
            output.container.start_encoding()
            output.remux.feed(output.container, None)
        output.finish()
    except BaseException:
        output.abandon()
        raise
    return tuple(output.remux.dropped)


def _stamps_agree(info: VideoInfo, muxer: str) -> bool:
    """AVI's packets have no presentation times, and its H.264 has start codes, which hardly any other source has."""
    return (info.container == "avi") == (muxer == "avi")


def _check_stamps(info: VideoInfo, muxer: str, target: Path) -> None:
    if _stamps_agree(info, muxer):
        return
    if muxer == "avi":
        raise OutputError(
            f"packets can be copied into AVI from AVI only, but {info.path} is none; "
            f"give the output {target.name!r} the extension of the input"
        )
    raise OutputError(
        f"the packets of {info.path} carry no presentation times, as always in AVI, and {target} needs them; "
        "give the output the extension .avi"
    )


def _comes_back(info: VideoInfo, muxer: str) -> bool:
    """Whether the first packets, written to memory, decode to a picture of the same size and pixel format.

    A header that was written proves little: TS takes every codec and hides what it does not know as private data, and
    raw pictures lose the name of their pixel format.
    """
    memory = BytesIO()
    with open_input(info.path, info.demuxing) as source:
        try:
            _write_first(source, source.streams[info.stream_index], memory, muxer)
            memory.seek(0)
            with av.open(memory, "r", format=muxer) as again:
                picture = next(again.decode(video=0))
        except (*AV_ERRORS, StopIteration, IndexError):
            return False
    found = picture.width, picture.height, picture.format.name
    return found == (info.stored_width_px, info.stored_height_px, info.pixel_format)


def _write_first(source: InputContainer, stream: Stream, memory: BytesIO, muxer: str) -> None:
    with av.open(memory, "w", format=muxer, metadata_errors="surrogateescape") as trial:
        copied = add_copy(trial, stream, muxer)
        for packet in _first_packets(source, stream):
            packet.stream = copied
            trial.mux_one(packet)


def _first_packets(source: InputContainer, stream: Stream) -> Iterator[Packet[Any]]:
    packets = (packet for packet in source.demux(stream) if packet.size)
    head = islice(packets, _MOST_PACKETS_BEFORE_A_KEY_FRAME)
    return islice(dropwhile(lambda packet: not packet.is_keyframe, head), _PACKETS_TO_TRY)
