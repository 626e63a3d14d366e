"""Options of every encoder: one scale of quality for all of them, and what a source or a container asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from clear_rt.config import WriteConfig
from clear_rt.frames.info import Mastering, VideoInfo


def options_of(name: str, config: WriteConfig, info: VideoInfo, muxer: str) -> dict[str, str]:
    """Options of the encoder `name` in FFmpeg's words.

    `config.crf` is x264's scale. The same number on the other scales, from the encoders' own statements of what equals
    x264's default 23: x265 28, VP9 31, SVT-AV1 35; in between by proportion. ffv1 is always lossless. NVENC's constant
    quality is taken for the scale of the CPU's encoder of the same codec: nobody measured how far they are apart.
    """
    options = _OPTIONS[name](config)
    return options | _extras(name, info, muxer, options)


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


def _nvenc(equals_x264_23: int, most: int, config: WriteConfig) -> dict[str, str]:
    if config.lossless:
        return {"preset": "p4", "tune": "lossless"}
    # A bit rate of 0 leaves the quality alone to decide; a quality of 0 would mean "choose one".
    return {"preset": "p5", "rc": "vbr", "cq": _scaled(config.crf, equals_x264_23, most), "b": "0"}


_OPTIONS: dict[str, Callable[[WriteConfig], dict[str, str]]] = {
    "libx264": _x264,
    "libx264rgb": _x264,
    "libx265": _x265,
    "libvpx-vp9": _vp9,
    "libsvtav1": _svt_av1,
    "ffv1": _ffv1,
    "h264_nvenc": partial(_nvenc, 23, 51),
    "hevc_nvenc": partial(_nvenc, 28, 51),
    "av1_nvenc": partial(_nvenc, 35, 63),
}
# Encoders that reorder frames, of codecs that AVI can hold.
_REORDER = ("libx264", "libx264rgb", "libx265", "h264_nvenc", "hevc_nvenc")


def _scaled(crf: int, equals_x264_23: int, most: int) -> str:
    return str(min(most, max(1, round(crf * equals_x264_23 / 23))))


def _extras(name: str, info: VideoInfo, muxer: str, options: dict[str, str]) -> dict[str, str]:
    extras: dict[str, str] = {}
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
