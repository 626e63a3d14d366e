"""Options of every encoder: one scale of quality for all of them, and what a source or a container asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from clear_rt.config import DEFAULT_CRF, WriteConfig
from clear_rt.frames.following import following_options, is_following
from clear_rt.frames.info import Mastering, VideoInfo
from clear_rt.frames.repeatable import x264_instructions


def options_of(name: str, config: WriteConfig, info: VideoInfo, muxer: str) -> dict[str, str]:
    """Options of the encoder `name` in FFmpeg's words.

    `config.crf` is x264's scale, and `DEFAULT_CRF` where it is None and `config.bitrate` is not a number. The same
    number on the other scales, from the encoders' own statements of what equals x264's default 23: x265 28, VP9 31,
    SVT-AV1 35; in between by proportion. ffv1, raw and numbered pictures are always lossless, JPEG always of the same
    quality. NVENC's constant quality is taken for the scale of the CPU's encoder of the same codec: nobody measured how
    far they are apart.
    """
    follows = is_following(name) and muxer != "image2"
    options = following_options(name, config, info) if follows else _OPTIONS[name](config)
    return options | _extras(name, info, config, muxer, options)


def loses(name: str, bit_depth: int) -> bool:
    """Whether an encoder gives back other samples even where it is told to lose nothing.

    SVT-AV1 4.1 is off by one in the chroma of 10 bits.
    """
    return name == "mjpeg" or (name == "libsvtav1" and bit_depth > 8)


def aims_at_rate(config: WriteConfig) -> bool:
    """Whether `options_of` sets an average bit rate instead of a quality."""
    return config.bitrate != "auto" and config.crf is None and not config.lossless


def _quality(config: WriteConfig, scaled: Callable[[int], str]) -> dict[str, str]:
    """The option that says how good the result is to be, or how large."""
    if aims_at_rate(config):
        return {"b": str(config.bitrate)}
    return {"crf": scaled(DEFAULT_CRF if config.crf is None else config.crf)}


def _x264(config: WriteConfig) -> dict[str, str]:
    if config.lossless:
        return {"qp": "0", "preset": "veryfast"}
    return _quality(config, str) | {"preset": "fast"} | x264_instructions()


def _x265(config: WriteConfig) -> dict[str, str]:
    # Otherwise it writes its settings into the headers, rate and threads among them, and all segments share those.
    quiet = "log-level=none:info=0"
    if config.lossless:
        return {"preset": "veryfast", "x265-params": f"{quiet}:lossless=1"}
    return _quality(config, partial(_scaled, 28, 51)) | {"preset": "fast", "x265-params": quiet}


def _vp9(config: WriteConfig) -> dict[str, str]:
    speed = {"deadline": "good", "cpu-used": "4", "row-mt": "1"}
    return speed | ({"lossless": "1"} if config.lossless else _quality(config, partial(_scaled, 31, 63)))


def _svt_av1(config: WriteConfig) -> dict[str, str]:
    if config.lossless:
        return {"preset": "8", "svtav1-params": "lossless=1"}
    return {"preset": "8"} | _quality(config, partial(_scaled, 35, 63))


def _ffv1(config: WriteConfig) -> dict[str, str]:
    return {"level": "3", "slicecrc": "1", "g": "1"}


def _as_it_is(config: WriteConfig) -> dict[str, str]:
    return {}


def _tiff(config: WriteConfig) -> dict[str, str]:
    # What nearly every program reads; FFmpeg's own choice, packbits, takes twice as much of pictures from a camera.
    return {"compression_algo": "lzw"}


def _mjpeg(config: WriteConfig) -> dict[str, str]:
    # The finest steps but one: the finest takes half as much again and shows nothing more.
    return {"qmin": "2", "qmax": "2"}


def _nvenc(equals_x264_23: int, most: int, config: WriteConfig) -> dict[str, str]:
    if config.lossless:
        return {"preset": "p4", "tune": "lossless"}
    quality = _quality(config, partial(_scaled, equals_x264_23, most))
    # A bit rate of 0 leaves the quality alone to decide; a quality of 0 would mean "choose one".
    rate = quality if "b" in quality else {"cq": quality["crf"], "b": "0"}
    return {"preset": "p5", "rc": "vbr"} | rate


_OPTIONS: dict[str, Callable[[WriteConfig], dict[str, str]]] = {
    "libx264": _x264,
    "libx264rgb": _x264,
    "libx265": _x265,
    "libvpx-vp9": _vp9,
    "libsvtav1": _svt_av1,
    "ffv1": _ffv1,
    **dict.fromkeys(("png", "dpx", "bmp", "targa", "rawvideo"), _as_it_is),
    "tiff": _tiff,
    "mjpeg": _mjpeg,
    "h264_nvenc": partial(_nvenc, 23, 51),
    "hevc_nvenc": partial(_nvenc, 28, 51),
    "av1_nvenc": partial(_nvenc, 35, 63),
}
# Encoders that reorder frames, of codecs that AVI can hold.
_REORDER = ("libx264", "libx264rgb", "libx265", "mpeg4", "h264_nvenc", "hevc_nvenc")


def _scaled(equals_x264_23: int, most: int, crf: int) -> str:
    return str(min(most, max(1, round(crf * equals_x264_23 / 23))))


# x264 calls what came after it by the name of the profile that it narrows down.
_NARROWER = {"Baseline": "baseline", "Constrained Baseline": "baseline", "Main": "main"}


def _extras(name: str, info: VideoInfo, config: WriteConfig, muxer: str, options: dict[str, str]) -> dict[str, str]:
    extras: dict[str, str] = {}
    if name == "libx264" and info.codec == "h264" and info.profile in _NARROWER and not config.lossless:
        extras["profile"] = _NARROWER[info.profile]
    if name in ("libx264", "libx265"):
        extras |= _hdr10(name, info.mastering, options)
    if muxer == "avi" and name in _REORDER:
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
