"""Encoders that are taken for videos of their own codec only, at the rate of those.

They have no scale of quality that anybody has compared with x264's, and none of them can encode without loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from clear_rt.config import WriteConfig
from clear_rt.frames.info import Mastering, VideoInfo

_PRORES = {"Proxy": "proxy", "LT": "lt", "Standard": "standard", "HQ": "hq"}
_DNXHR = {f"DNXHR {name}": f"dnxhr_{name.lower()}" for name in ("LB", "SQ", "HQ", "HQX", "444")}
# FFmpeg's quantiser 2, the finest that its rate control uses of its own accord.
_FINE = {"flags": "+qscale", "global_quality": "236"}


@dataclass(frozen=True, slots=True)
class _Following:
    """An encoder, the containers that its codec is at home in, and the profiles it can be told, where it must be."""

    encoder: str
    muxers: tuple[str, ...]
    profiles: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    has_fields: bool = False


_BY_CODEC = {
    "mpeg2video": _Following(
        "mpeg2video", ("mpegts", "mxf", "matroska", "mov"), options={"g": "12", "bf": "2"}, has_fields=True
    ),
    "mpeg4": _Following("mpeg4", ("avi", "mp4", "mov", "matroska"), options={"g": "250"}),
    "mjpeg": _Following("mjpeg", ("avi", "mov", "matroska")),
    "vp8": _Following("libvpx", ("webm", "matroska"), options={"deadline": "good", "cpu-used": "4"}),
    "prores": _Following("prores_ks", ("mov", "mxf", "matroska"), _PRORES, {"vendor": "apl0"}, has_fields=True),
    "dnxhd": _Following("dnxhd", ("mov", "mxf"), _DNXHR),
}
_BY_ENCODER = {one.encoder: one for one in _BY_CODEC.values()}


def following(info: VideoInfo, config: WriteConfig, muxer: str) -> str | None:
    """The encoder that keeps the codec of `info` in a file of `muxer`; None where there is none or it is not to follow.

    ProRes and DNxHR have the rate of their profile, so that of another one must not have been asked for.
    """
    found = _BY_CODEC.get(info.codec)
    if found is None or muxer not in found.muxers or config.lossless or config.crf is not None:
        return None
    if found.profiles and (info.profile not in found.profiles or config.bitrate != "auto"):
        return None
    if (info.is_interlaced and not found.has_fields) or info.mastering != Mastering():
        return None
    return found.encoder


def counts_frames(encoder: str) -> bool:
    """Whether it takes the numbers of frames for times: MPEG-2 knows but a few rates, MPEG-4 no fine ones."""
    return encoder in ("mpeg2video", "mpeg4")


def is_following(encoder: str) -> bool:
    """Whether `following_options` knows it."""
    return encoder in _BY_ENCODER


def following_options(encoder: str, config: WriteConfig, info: VideoInfo) -> dict[str, str]:
    """In FFmpeg's words. Where `config` says no rate, finely: only `Aim` knows the source's."""
    found = _BY_ENCODER[encoder]
    options = dict(found.options)
    if found.profiles:
        options["profile"] = found.profiles[info.profile or ""]
    else:
        options |= _FINE if config.bitrate == "auto" else {"b": str(config.bitrate), "qmin": "2"}
    if info.is_interlaced:
        options["flags"] = options.get("flags", "") + "+ildct+ilme"
    return options
