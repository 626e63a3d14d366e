"""Which encoder writes a video back: the source's own codec first, else one that holds its samples unchanged.

NVENC comes before the CPU's encoder of the same codec, where it is seen to work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO

import av
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from clear_rt.config import WriteConfig
from clear_rt.errors import EngineError, OutputError
from clear_rt.frames.encoder_options import loses, options_of
from clear_rt.frames.failures import AV_ERRORS, NO_GPU
from clear_rt.frames.following import counts_frames, following
from clear_rt.frames.info import Mastering, VideoInfo
from clear_rt.frames.layout import PixelLayout, layout_to_write, pixel_layout
from clear_rt.frames.picture_files import always_needed
from clear_rt.frames.trial import trial
from clear_rt.runtime.device import gpu_count

_OWN_ENCODER = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "ffv1": "ffv1"}
_OWN_NVENC = {"h264": "h264_nvenc", "hevc": "hevc_nvenc", "av1": "av1_nvenc"}
_ORDER = ("libx264", "libx264rgb", "libx265", "libvpx-vp9", "libsvtav1", "ffv1")
# What an encoder takes but a file does not give back: x264 decodes grey as 4:2:0, VP9 keeps alpha apart, its 4:4:0 in
# MP4 cannot be opened again.
_NOT_GIVEN_BACK = {
    "libx264": {"gray", "gray10le"},
    "libvpx-vp9": {"yuva420p", "yuva422p", "yuva444p", "gbrap", "yuv440p"},
}
_PADDED = {"rgb0", "bgr0", "0rgb", "0bgr"}
# This muxer refuses nothing and wraps what it does not know as private data.
_KNOWN_TO_MPEGTS = {"mpeg2video", "libx264", "libx265", "h264_nvenc", "hevc_nvenc"}
_KNOWN_TO_MXF = {"mpeg2video", "prores_ks", "dnxhd", "libx264"}
_HEVC = {"libx265", "hevc_nvenc"}
# MP4 can hold ffv1, but hardly any player of MP4 knows it: there it is the last resort.
_USUAL_FOR_FFV1 = {"matroska", "avi", "nut"}
_MOV_FAMILY = {"mp4", "mov", "3gp"}


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder by FFmpeg's name, the pixel format it is fed with, its options and the codec tag it needs, if any.

    `why_not_gpu` is half a sentence where NVENC would have been taken and could not be.
    """

    name: str
    pixel_format: str
    options: dict[str, str]
    tag: str | None = None
    why_not_gpu: str | None = None


def choose_encoder(
    info: VideoInfo, config: WriteConfig, muxer: str, only: Sequence[str] | None = None, *, follow: bool = True
) -> Encoder:
    """First encoder that `muxer` holds and that opens at this size and in the source's (or an equal) pixel format.

    Of those named in `only`, where there are any: then the CPU's alone. Without `follow`, of those that have a quality.

    Raises OutputError where no encoder fits, naming a container that would, and EngineError where one of NVENC's is
    asked for by name and cannot be had.
    """
    why_not_gpu = None
    if config.encoder != "cpu" and only is None:
        found = _on_gpu(info, config, muxer)
        if isinstance(found, Encoder):
            return found
        if config.encoder != "auto":
            raise EngineError(f"--encoder {config.encoder} cannot be honoured: {found}; use --encoder auto or cpu")
        why_not_gpu = found
    if encoder := _first(info, config, muxer, only, follow):
        return replace(encoder, why_not_gpu=why_not_gpu)
    what = "losslessly " if config.lossless else ""
    if only and muxer == "image2" and _first(info, config, "matroska", None, follow):
        raise OutputError(
            f"numbered pictures by {only[0]} cannot hold {info.pixel_format} pictures of "
            f"{info.stored_width_px}x{info.stored_height_px} {what}encoded; give the output the extension .mkv"
        )
    if muxer != "matroska" and _first(info, config, "matroska", None, follow):
        raise OutputError(
            f"a {muxer} file cannot hold {info.pixel_format} pictures of "
            f"{info.stored_width_px}x{info.stored_height_px} {what}encoded; give the output the extension .mkv"
        )
    raise OutputError(
        f"no encoder takes {info.pixel_format} pictures of {info.stored_width_px}x{info.stored_height_px}; "
        "convert the input to yuv420p first"
    )


def _on_gpu(info: VideoInfo, config: WriteConfig, muxer: str) -> Encoder | str:
    """NVENC's encoder of the source's codec, or the one asked for; else why there is none, as half a sentence."""
    name = _OWN_NVENC.get(info.codec) if config.encoder == "auto" else config.encoder
    if gpu_count() == 0:
        return NO_GPU
    if name is None:
        return f"NVENC encodes H.264, HEVC and AV1, and this is {info.codec}"
    if config.lossless and config.encoder == "auto":
        return "lossless encoding is left to the CPU"
    if info.is_interlaced:
        return "the video is interlaced"
    if info.mastering != Mastering():
        return "the video has HDR10 metadata, which the CPU's encoders keep"
    if not _may_hold(muxer, name):
        return f"a {muxer} file does not hold what {name} makes"
    return _tried(name, info, config, muxer)


def _tried(name: str, info: VideoInfo, config: WriteConfig, muxer: str) -> Encoder | str:
    pixel_formats = _equal_formats(info.pixel_format, name)
    if not pixel_formats:
        return f"{name} takes no {info.pixel_format}"
    encoder = _encoder(name, pixel_formats[0], info, config, muxer)
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    configure(context, encoder, info, 1 / info.rate)
    if what := trial(context, info.pixel_format, lossless=config.lossless):
        return what
    return encoder if _fits(encoder, info, muxer) else f"a {muxer} file does not hold what {name} makes"


def _first(
    info: VideoInfo, config: WriteConfig, muxer: str, only: Sequence[str] | None, follow: bool
) -> Encoder | None:
    for name in only or _names(info, muxer, following(info, config, muxer) if follow else None):
        if not _may_hold(muxer, name) or (config.lossless and loses(name, info.bit_depth)):
            continue
        for pixel_format in _equal_formats(info.pixel_format, name):
            encoder = _encoder(name, pixel_format, info, config, muxer)
            if _fits(encoder, info, muxer):
                return encoder
    return None


def _may_hold(muxer: str, name: str) -> bool:
    """Whether this FFmpeg has the encoder, and a file of `muxer` takes it for more than private data."""
    known = {"mpegts": _KNOWN_TO_MPEGTS, "mxf": _KNOWN_TO_MXF}.get(muxer)
    return name in av.codec.codecs_available and (known is None or name in known)


def _encoder(name: str, pixel_format: str, info: VideoInfo, config: WriteConfig, muxer: str) -> Encoder:
    tag = "hvc1" if name in _HEVC and muxer in _MOV_FAMILY else None
    return Encoder(name, pixel_format, options_of(name, config, info, muxer), tag)


def _names(info: VideoInfo, muxer: str, followed: str | None) -> Iterator[str]:
    own = followed or _OWN_ENCODER.get(info.codec, "libx264")
    if own == "ffv1" and muxer not in _USUAL_FOR_FFV1:
        own = "libx264"
    yield own
    yield from (name for name in _ORDER if name != own)


def _equal_formats(pixel_format: str, encoder: str) -> list[str]:
    """The encoder's formats that hold the same samples: the very format, then unpadded ones, then the rest."""
    wanted = pixel_layout(pixel_format)
    assert wanted is not None
    # An encoder that names no format, as that of raw pictures, takes them all.
    accepted = [f.name for f in av.codec.Codec(encoder, "w").video_formats or ()] or [pixel_format]
    accepted = [name for name in accepted if name not in _NOT_GIVEN_BACK.get(encoder, ())]
    equal = [n for n in accepted if (layout := layout_to_write(n)) and _may_replace(wanted, layout)]
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
    # Nothing can be written to memory: one has no header, the other no end without frames.
    if muxer in ("image2", "mxf"):
        return _opens(encoder, info)
    try:
        with av.open(BytesIO(), "w", format=muxer, container_options=always_needed(muxer)) as trial:
            stream = trial.add_stream(encoder.name, rate=info.rate)
            assert isinstance(stream, VideoStream)
            configure(stream.codec_context, encoder, info, 1 / info.rate)
            trial.start_encoding()
    except AV_ERRORS:
        return False
    return True


def _opens(encoder: Encoder, info: VideoInfo) -> bool:
    """The first half of that."""
    context = av.CodecContext.create(encoder.name, "w")
    assert isinstance(context, VideoCodecContext)
    try:
        configure(context, encoder, info, 1 / info.rate)
        context.open()
    except AV_ERRORS:
        return False
    return True


def configure(context: VideoCodecContext, encoder: Encoder, info: VideoInfo, time_base: Fraction) -> None:
    """Set size, format, time base and colour description of an encoder that is not open yet.

    `time_base` is that of the frames; encoders that count them get one tick a frame.
    """
    context.width, context.height = info.stored_width_px, info.stored_height_px
    context.pix_fmt = encoder.pixel_format
    context.time_base = 1 / info.rate if counts_frames(encoder.name) else time_base
    context.framerate = info.rate
    context.sample_aspect_ratio = info.sample_aspect_ratio
    full = info.pixel_format.startswith("yuvj")
    context.color_range = 2 if full else info.colour.range
    context.color_primaries = info.colour.primaries
    context.color_trc = info.colour.transfer
    context.colorspace = info.colour.matrix
    if encoder.tag:
        context.codec_tag = encoder.tag
    context.options = dict(encoder.options)
