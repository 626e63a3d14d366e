"""Video files in and out: `probe`, `read`, `Writer` and `copy`. The only room that knows PyAV."""

from clear_rt.frames.copy import copy
from clear_rt.frames.frame import Frame, Plane
from clear_rt.frames.info import Colour, StreamInfo, VideoInfo
from clear_rt.frames.probe import probe
from clear_rt.frames.read import read
from clear_rt.frames.write import Writer

__all__ = ["Colour", "Frame", "Plane", "StreamInfo", "VideoInfo", "Writer", "copy", "probe", "read"]
