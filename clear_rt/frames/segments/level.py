"""One level for all segments of a video, whatever their bit rates: it stands in the headers that they share."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from clear_rt.frames.encoders import Encoder, configure
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.nal import HEVC, header_units, stated_level, unescaped

_CODECS = {"libx264": "h264", "libx265": "hevc"}
_TIER_BYTE = 3
# Ten and thirty times the number; what else a stream may state, encoders refuse.
_LEVELS = {
    "h264": {10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52, 60, 61, 62},
    "hevc": {30, 60, 63, 90, 93, 120, 123, 150, 153, 156, 180, 183, 186},
}


def level_options(encoder: Encoder, info: VideoInfo, time_base: Fraction) -> dict[str, str]:
    """What to add to the options so that headers state the level that `encoder` needs as it is, or the source's.

    The higher of the two; nothing for encoders whose headers do not depend on the rate. Raises av errors.
    """
    codec = _CODECS.get(encoder.name)
    if codec is None:
        return {}
    headers = headers_of(encoder, info, time_base)
    level = stated_level(codec, headers)
    if level is None:
        return {}
    if codec == info.codec and info.level in _LEVELS[codec]:
        level = max(level, info.level)
    if codec == "h264":
        return {"level": str(level)}
    sps = next(unit for unit in header_units("hevc", headers) if HEVC.kind(unit) == HEVC.sps)
    return {"x265-params": f"level-idc={level // 3}:high-tier={unescaped(sps)[_TIER_BYTE] >> 5 & 1}"}


def headers_of(encoder: Encoder, info: VideoInfo, time_base: Fraction) -> bytes:
    """The headers that stand before the packets of `encoder`, or in the container. Raises av errors."""
    context = av.CodecContext.create(encoder.name, "w")
    assert isinstance(context, VideoCodecContext)
    configure(context, encoder, info, time_base)
    context.flags |= Flags.global_header
    context.open()
    return context.extradata or b""


def with_options(encoder: Encoder, more: dict[str, str]) -> Encoder:
    """The encoder with further options; those that hold lists of parameters grow by the parameters given."""
    options = dict(encoder.options)
    for name, value in more.items():
        lengthens = name.endswith("-params") and name in options
        options[name] = f"{options[name]}:{value}" if lengthens else value
    return replace(encoder, options=options)
