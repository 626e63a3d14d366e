"""Video files in and out: `probe`, `read`, `Writer` and `copy`. The only room that knows PyAV."""

from clear_rt.frames.atomic import check_target, muxer_for
from clear_rt.frames.copy import copy, copyable
from clear_rt.frames.frame import Frame, Plane
from clear_rt.frames.info import Colour, StreamInfo, VideoInfo
from clear_rt.frames.plain import GRAY_LOSSLESS, RGB_TO_WATCH, PlainWriter
from clear_rt.frames.probe import probe
from clear_rt.frames.read import read
from clear_rt.frames.still import write_png
from clear_rt.frames.write import Writer

__all__ = [
    "GRAY_LOSSLESS",
    "RGB_TO_WATCH",
    "Colour",
    "Frame",
    "PlainWriter",
    "Plane",
    "StreamInfo",
    "VideoInfo",
    "Writer",
    "check_target",
    "copy",
    "copyable",
    "muxer_for",
    "probe",
    "read",
    "write_png",
]
