"""Which encoder writes a video back: the source's own codec first, else one that holds its samples unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames.failures import AV_ERRORS
from clear_rt.frames.info import Mastering, VideoInfo
from clear_rt.frames.layout import PixelLayout, pixel_layout

_OWN_ENCODER = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "ffv1": "ffv1"}
_ORDER = ("libx264", "libx264rgb", "libx265", "libvpx-vp9", "libsvtav1", "ffv1")
# What an encoder takes but a file does not give back: x264 decodes grey as 4:2:0, VP9 keeps alpha apart, its 4:4:0 in
# MP4 cannot be opened again.
_NOT_GIVEN_BACK = {
    "libx264": {"gray", "gray10le"},
    "libvpx-vp9": {"yuva420p", "yuva422p", "yuva444p", "gbrap", "yuv440p"},
}
_PADDED = {"rgb0", "bgr0", "0rgb", "0bgr"}
# This muxer refuses nothing and wraps what it does not know as private data.
_KNOWN_TO_MPEGTS = {"libx264", "libx265"}
# MP4 can hold ffv1, but hardly any player of MP4 knows it: there it is the last resort.
_USUAL_FOR_FFV1 = {"matroska", "avi", "nut"}
_MOV_FAMILY = {"mp4", "mov", "3gp"}


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder by FFmpeg's name, the pixel format it is fed with, its options and the codec tag it needs, if any."""

    name: str
    pixel_format: str
    options: dict[str, str]
    tag: str | None = None


def choose_encoder(info: VideoInfo, config: WriteConfig, muxer: str) -> Encoder:
    """First encoder that `muxer` holds and that opens at this size and in the source's (or an equal) pixel format.

    `config.crf` is x264's scale. The same number on the other scales, from the encoders' own statements of what equals
    x264's default 23: x265 28, VP9 31, SVT-AV1 35; in between by proportion. ffv1 is always lossless.
    Raises OutputError where no encoder fits, naming a container that would.
    """
    if encoder := _first(info, config, muxer):
        return encoder
    what = "losslessly " if config.lossless else ""
    if muxer != "matroska" and _first(info, config, "matroska"):
        raise OutputError(
            f"a {muxer} file cannot hold {info.pixel_format} pictures of "
            f"{info.stored_width_px}x{info.stored_height_px} {what}encoded; give the output the extension .mkv"
        )
    raise OutputError(
        f"no encoder takes {info.pixel_format} pictures of {info.stored_width_px}x{info.stored_height_px}; "
        "convert the input to yuv420p first"
    )


def _first(info: VideoInfo, config: WriteConfig, muxer: str) -> Encoder | None:
    for name in _names(info.codec, muxer):
        if name not in av.codec.codecs_available or (muxer == "mpegts" and name not in _KNOWN_TO_MPEGTS):
            continue
        for pixel_format in _equal_formats(info.pixel_format, name):
            options = _OPTIONS[name](config)
            options |= _extras(name, info, muxer, options)
            tag = "hvc1" if name == "libx265" and muxer in _MOV_FAMILY else None
            encoder = Encoder(name, pixel_format, options, tag)
            if _fits(encoder, info, muxer):
                return encoder
    return None


def _names(codec: str, muxer: str) -> Iterator[str]:
    own = _OWN_ENCODER.get(codec, "libx264")
    if own == "ffv1" and muxer not in _USUAL_FOR_FFV1:
        own = "libx264"
    yield own
    yield from (name for name in _ORDER if name != own)


def _equal_formats(pixel_format: str, encoder: str) -> list[str]:
    """The encoder's formats that hold the same samples: the very format, then unpadded ones, then the rest."""
    wanted = pixel_layout(pixel_format)
    assert wanted is not None
    accepted = [f.name for f in av.codec.Codec(encoder, "w").video_formats or ()]
    accepted = [name for name in accepted if name not in _NOT_GIVEN_BACK.get(encoder, ())]
    equal = [n for n in accepted if (layout := pixel_layout(n)) and _may_replace(wanted, layout)]
    return sorted(equal, key=lambda name: (name != pixel_format, name in _PADDED))


def _may_replace(wanted: PixelLayout, offered: PixelLayout) -> bool:
    if offered.name != wanted.name and "j" in offered.name:
        return False
    return wanted.same_samples(offered)


def _fits(encoder: Encoder, info: VideoInfo, muxer: str) -> bool:
    """True where the encoder opens at this size and the muxer writes a header for it (into memory)."""
    if encoder.name == "libsvtav1":
        # SVT-AV1 prints twenty lines to stderr at its default level; 0 leaves fatal errors.
        os.environ.setdefault("SVT_LOG", "0")
    try:
        with av.open(BytesIO(), "w", format=muxer) as trial:
            stream = trial.add_stream(encoder.name, rate=info.rate)
            assert isinstance(stream, VideoStream)
            configure(stream.codec_context, encoder, info, 1 / info.rate)
            trial.start_encoding()
    except AV_ERRORS:
        return False
    return True


def configure(context: VideoCodecContext, encoder: Encoder, info: VideoInfo, time_base: Fraction) -> None:
    """Set size, format, time base and colour description of an encoder that is not open yet."""
    context.width, context.height = info.stored_width_px, info.stored_height_px
    context.pix_fmt = encoder.pixel_format
    context.time_base, context.framerate = time_base, info.rate
    context.sample_aspect_ratio = info.sample_aspect_ratio
    full = info.pixel_format.startswith("yuvj")
    context.color_range = 2 if full else info.colour.range
    context.color_primaries = info.colour.primaries
    context.color_trc = info.colour.transfer
    context.colorspace = info.colour.matrix
    if encoder.tag:
        context.codec_tag = encoder.tag
    context.options = dict(encoder.options)


def _x264(config: WriteConfig) -> dict[str, str]:
    if config.lossless:
        return {"qp": "0", "preset": "veryfast"}
    return {"crf": str(config.crf), "preset": "fast"}


def _x265(config: WriteConfig) -> dict[str, str]:
    if config.lossless:
        return {"preset": "veryfast", "x265-params": "log-level=none:lossless=1"}
    return {"crf": _scaled(config.crf, 28, 51), "preset": "fast", "x265-params": "log-level=none"}


def _vp9(config: WriteConfig) -> dict[str, str]:
    speed = {"deadline": "good", "cpu-used": "4", "row-mt": "1"}
    return speed | ({"lossless": "1"} if config.lossless else {"crf": _scaled(config.crf, 31, 63)})


def _svt_av1(config: WriteConfig) -> dict[str, str]:
    if config.lossless:
        return {"preset": "8", "svtav1-params": "lossless=1"}
    return {"preset": "8", "crf": _scaled(config.crf, 35, 63)}


def _ffv1(config: WriteConfig) -> dict[str, str]:
    return {"level": "3", "slicecrc": "1", "g": "1"}


_OPTIONS: dict[str, Callable[[WriteConfig], dict[str, str]]] = {
    "libx264": _x264,
    "libx264rgb": _x264,
    "libx265": _x265,
    "libvpx-vp9": _vp9,
    "libsvtav1": _svt_av1,
    "ffv1": _ffv1,
}


def _scaled(crf: int, equals_x264_23: int, most: int) -> str:
    return str(min(most, max(1, round(crf * equals_x264_23 / 23))))


def _extras(name: str, info: VideoInfo, muxer: str, options: dict[str, str]) -> dict[str, str]:
    extras: dict[str, str] = {}
    if name in ("libx264", "libx265"):
        extras |= _hdr10(name, info.mastering, options)
    if muxer == "avi" and name in ("libx264", "libx264rgb", "libx265"):
        # AVI has no presentation times: reordered frames would come out late by the reordering depth.
        extras["bf"] = "0"
    if info.is_interlaced and name == "libx264":
        extras["flags"] = "+ildct+ilme"
    return extras


def _hdr10(name: str, mastering: Mastering, options: dict[str, str]) -> dict[str, str]:
    key, display, light = {
        "libx264": ("x264-params", "mastering-display", "cll"),
        "libx265": ("x265-params", "master-display", "max-cll"),
    }[name]
    values = [(display, mastering.display), (light, mastering.light)]
    params = [options[key]] if key in options else []
    params += [f"{field}={value}" for field, value in values if value]
    return {key: ":".join(params)} if params else {}
