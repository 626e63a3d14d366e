"""Video files in and out; the only room that knows PyAV.

- In: `probe` describes a file (`VideoInfo`), `read` yields its frames (`Frame` of `Plane`s), and `with_decoder` settles
  who decodes them.
- Out: `Writer` encodes frames and carries the rest over, `SegmentedWriter` does it in segments that a later run can go
  on after (`Work` is where they are kept, `Edits` what has to be encoded), `copy` carries everything over packet by
  packet, `PlainWriter` and `write_png` write plain arrays. A file appears whole or not at all.
- Before: `check_writable` refuses what a `Writer` would, `copyable` says whether `copy` will do, `check_target` looks
  at the place alone, `same_place` compares two, `muxer_for` knows the extensions.
"""

from clear_rt.frames.atomic import check_target, is_there, muxer_for, same_place
from clear_rt.frames.copy import copy, copyable
from clear_rt.frames.decode import with_decoder
from clear_rt.frames.frame import Frame, Plane
from clear_rt.frames.info import Colour, StreamInfo, VideoInfo
from clear_rt.frames.plain import GRAY_LOSSLESS, RGB_LOSSLESS, RGB_TO_WATCH, PlainWriter
from clear_rt.frames.probe import probe
from clear_rt.frames.read import read
from clear_rt.frames.segments.edits import Edits
from clear_rt.frames.segments.plan import SEGMENT_FRAMES, Segment, SegmentPlan
from clear_rt.frames.segments.work import Work
from clear_rt.frames.segments.writer import SegmentedWriter
from clear_rt.frames.still import jpeg_of, write_png
from clear_rt.frames.writable import check_writable
from clear_rt.frames.write import Writer

__all__ = [
    "GRAY_LOSSLESS",
    "RGB_LOSSLESS",
    "RGB_TO_WATCH",
    "SEGMENT_FRAMES",
    "Colour",
    "Edits",
    "Frame",
    "PlainWriter",
    "Plane",
    "Segment",
    "SegmentPlan",
    "SegmentedWriter",
    "StreamInfo",
    "VideoInfo",
    "Work",
    "Writer",
    "check_target",
    "check_writable",
    "copy",
    "copyable",
    "is_there",
    "jpeg_of",
    "muxer_for",
    "probe",
    "read",
    "same_place",
    "with_decoder",
    "write_png",
]
