"""The packets of an H.264 or HEVC video in decoding order, and between which of them it can be cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_rt.errors import InputError
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.nal import SYNTAX, header_units, length_bytes, units
from clear_rt.frames.opening import open_input


class Cut(NamedTuple):
    """Packet `packet` begins a group of pictures whose first shown frame is as far from the first of the video.

    The `leading` packets after it are shown before it and may need pictures of the group before: without that group
    they are of no use. `is_open` where it is no IDR picture, `has_sets` where all parameter sets stand in the packet.
    """

    packet: int
    leading: int
    is_open: bool
    has_sets: bool


@dataclass(frozen=True, slots=True)
class Gops:
    """`pts` int64 [N] in decoding order; the first of `cuts` is at packet 0. `headers` are those of the container.

    `lengths`: how long the lengths before units are, None where there are start codes.
    """

    pts: NDArray[np.int64]
    cuts: tuple[Cut, ...]
    headers: bytes
    lengths: int | None
    sets: frozenset[bytes]


class _Packet(NamedTuple):
    pts: int
    is_idr: bool
    is_open: bool
    has_sets: bool


def read_gops(info: VideoInfo) -> Gops | str:
    """Read all packets of the video once; half a sentence where they cannot be told apart. Raises InputError."""
    syntax = SYNTAX[info.codec]
    found: list[_Packet] = []
    with open_input(info.path, info.demuxing) as container:
        stream = container.streams[info.stream_index]
        headers = stream.codec_context.extradata or b""
        lengths = length_bytes(info.codec, headers)
        sets = set(header_units(info.codec, headers))
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                if packet.pts is None:
                    return "its packets do not say when they are shown"
                all_units = list(units(bytes(packet), lengths))
                kinds = {syntax.kind(unit) for unit in all_units}
                own = {unit for unit in all_units if syntax.kind(unit) in syntax.sets}
                if not sets:
                    sets = own
                if not own <= sets:
                    return "its parameter sets change on the way"
                has_sets = kinds.issuperset(syntax.needed)
                found.append(_Packet(packet.pts, bool(kinds & syntax.idr), syntax.cra in kinds, has_sets))
        except AV_ERRORS as error:
            raise InputError(f"{info.path} is damaged ({reason(error)}); copy or export it again") from error
    if len({packet.pts for packet in found}) != len(found):
        return "several of its packets are shown at the same time"
    cuts = _cuts(found)
    if not cuts or cuts[0].packet:
        return "it does not begin with a picture that can be decoded alone"
    return Gops(np.array([packet.pts for packet in found], np.int64), cuts, headers, lengths, frozenset(sets))


def _cuts(packets: list[_Packet]) -> tuple[Cut, ...]:
    """Key pictures which all packets before are shown before, with what is decoded from them on."""
    pts = np.array([packet.pts for packet in packets], np.int64)
    latest_before = np.concatenate([[np.iinfo(np.int64).min], np.maximum.accumulate(pts)[:-1]])
    earliest_from = np.minimum.accumulate(pts[::-1])[::-1]
    starts = [i for i, packet in enumerate(packets) if packet.is_idr or packet.is_open]
    clean = [i for i in starts if latest_before[i] < earliest_from[i]]
    ends = [*clean[1:], len(packets)]
    return tuple(
        Cut(begin, int(np.sum(pts[begin:end] < pts[begin])), packets[begin].is_open, packets[begin].has_sets)
        for begin, end in zip(clean, ends, strict=True)
    )
