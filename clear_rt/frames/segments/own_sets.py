"""How an encoder's parameter sets are kept apart from the source's in one stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from clear_rt.frames.encoders import Encoder
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.nal import H264, header_units
from clear_rt.frames.segments import hevc_numbers
from clear_rt.frames.segments.gops import Gops
from clear_rt.frames.segments.level import headers_of, with_options
from clear_rt.frames.segments.parameter_sets import free_number, merged

_PROFILE_BYTE = 1


class OwnSets(Protocol):
    """`encoder` has the options that this takes. `in_band`: its sets stand in the packets of key pictures.

    `encoder_headers` are those that it makes, `stream_headers` those of the stream; both empty where `in_band` and the
    container asks for none.
    """

    encoder: Encoder
    in_band: bool
    encoder_headers: bytes
    stream_headers: bytes

    def renumbered(self, units: Iterable[bytes]) -> list[bytes]:
        """The units of a packet of the encoder as they are written."""


class InBand:
    """Key pictures of both bring their sets along, whatever the numbers of these are."""

    def __init__(self, encoder: Encoder, gops: Gops) -> None:
        self.encoder, self.in_band = encoder, True
        self.encoder_headers, self.stream_headers = b"", gops.headers

    def renumbered(self, units: Iterable[bytes]) -> list[bytes]:
        return list(units)


class NumberedByX264:
    """Both stand in the headers; x264 is told which number its own have."""

    def __init__(self, encoder: Encoder, info: VideoInfo, gops: Gops) -> None:
        self.encoder, self.in_band = encoder, False
        self.encoder_headers = headers_of(encoder, info, info.time_base)
        self.stream_headers = merged("h264", gops.headers, header_units("h264", self.encoder_headers))

    def renumbered(self, units: Iterable[bytes]) -> list[bytes]:
        return list(units)


class NumberedAfterX265:
    """Both stand in the headers; what x265 makes is given other numbers. Raises ValueError where that is not known."""

    def __init__(self, encoder: Encoder, info: VideoInfo, gops: Gops, number: int) -> None:
        self.encoder, self.in_band = encoder, False
        self.encoder_headers = headers_of(encoder, info, info.time_base)
        sets = header_units("hevc", self.encoder_headers)
        self._slices = hevc_numbers.SliceNumbers(sets, number)
        own = [hevc_numbers.renumbered_set(unit, number) for unit in sets]
        self.stream_headers = merged("hevc", gops.headers, own)

    def renumbered(self, units: Iterable[bytes]) -> list[bytes]:
        return [self._slices.renumbered(unit) for unit in units]


def own_sets(info: VideoInfo, encoder: Encoder, gops: Gops, muxer: str) -> OwnSets | str:
    """Half a sentence where the sets cannot be kept apart."""
    return _of_h264(info, encoder, gops, muxer) if info.codec == "h264" else _of_hevc(info, encoder, gops)


def _of_h264(info: VideoInfo, encoder: Encoder, gops: Gops, muxer: str) -> OwnSets | str:
    if refusal := _other_profile(info, encoder, gops):
        return refusal
    number = free_number(gops.sets)
    if number is None:
        return "its parameter sets take all numbers that x264 can give to its own"
    encoder = with_options(encoder, {"x264-params": f"sps-id={number}"})
    if gops.lengths is None and muxer == "mpegts":
        # There the packets are the only place for them.
        return InBand(encoder, gops)
    return NumberedByX264(encoder, info, gops)


def _of_hevc(info: VideoInfo, encoder: Encoder, gops: Gops) -> OwnSets | str:
    if all(cut.has_sets for cut in gops.cuts):
        return InBand(encoder, gops)
    number = hevc_numbers.free_number(gops.sets)
    if number is None:
        return "its parameter sets take all numbers that x265's could be given"
    try:
        return NumberedAfterX265(_plainer(encoder, gops), info, gops, number)
    except ValueError as error:
        return f"x265's pictures cannot be numbered anew ({error})"


def _other_profile(info: VideoInfo, encoder: Encoder, gops: Gops) -> str | None:
    """FFmpeg shows wrong pictures where lossless ones follow others in a stream, and players need one profile."""
    if encoder.options.get("qp") == "0":
        return "players do not change between lossy and lossless H.264 in a stream"
    own = header_units("h264", headers_of(encoder, info, info.time_base))
    profiles = {unit[_PROFILE_BYTE] for unit in [*gops.sets, *own] if H264.kind(unit) == H264.sps}
    return None if len(profiles) == 1 else "x264 would encode it in another profile of H.264"


def _plainer(encoder: Encoder, gops: Gops) -> Encoder:
    """Without what slices need not have, and without B-frames where they could be forgotten (see `SmartCopy`)."""
    options = "weightp=0:weightb=0" + (":bframes=0" if any(cut.is_open for cut in gops.cuts) else "")
    return with_options(encoder, {"x265-params": options})
