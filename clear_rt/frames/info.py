"""What is known of a video before its frames are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from clear_rt.frames.decoder import Decoder
from clear_rt.frames.demuxing import Demuxing
from clear_rt.frames.orientation import Orientation


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream beside the video; `type` is "audio", "subtitle", "data", "attachment" or "video"."""

    index: int
    type: str
    codec: str


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour description by FFmpeg's (ITU-T H.273) code points; 2 is unspecified, for `range` 0 is and 2 is full."""

    range: int
    primaries: int
    transfer: int
    matrix: int


@dataclass(frozen=True, slots=True)
class Mastering:
    """HDR10 metadata in x265's notation: `display` "G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)", `light` "cll,fall"."""

    display: str | None = None
    light: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """A probed video. `width_px`, `height_px` are upright, `stored_*` as coded; `rotation_degrees` turns clockwise.

    `sample_aspect_ratio` belongs to the stored picture. `rate` is the average in frames per second. `declared_end_us`
    is the end of the video as the container states it, None where it states none (then nothing can be missing).
    `is_vfr` and `is_interlaced` are hints from the header and the first frame. `profile` is the codec's in FFmpeg's
    words, `level` of H.264 and HEVC as the stream states it: ten times resp. thirty times the number. `decoder` is
    what reads its frames, `demuxing` how `path` is opened.
    """

    path: Path
    container: str
    stream_index: int
    codec: str
    pixel_format: str
    bit_depth: int
    stored_width_px: int
    stored_height_px: int
    orientation: Orientation
    display_matrix: tuple[int, ...] | None
    sample_aspect_ratio: Fraction
    rate: Fraction
    time_base: Fraction
    start_us: int
    duration_us: int | None
    declared_end_us: int | None
    frames_estimate: int | None
    colour: Colour
    mastering: Mastering
    is_vfr: bool
    is_interlaced: bool
    has_side_alpha: bool
    other_streams: tuple[StreamInfo, ...]
    profile: str | None = None
    level: int | None = None
    decoder: Decoder = field(default_factory=Decoder, compare=False)
    demuxing: Demuxing = field(default_factory=Demuxing)

    @property
    def width_px(self) -> int:
        return self.stored_height_px if self.orientation.transpose else self.stored_width_px

    @property
    def height_px(self) -> int:
        return self.stored_width_px if self.orientation.transpose else self.stored_height_px

    @property
    def size_bytes(self) -> int:
        """Of the file, or of all numbered pictures. Raises OSError."""
        sequence = self.demuxing.sequence
        return self.path.stat().st_size if sequence is None else sequence.size_bytes

    @property
    def rotation_degrees(self) -> int:
        return self.orientation.rotation_degrees
