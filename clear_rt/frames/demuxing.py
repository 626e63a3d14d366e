"""How FFmpeg is to open a path that does not say everything itself: numbered pictures and raw ones."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from clear_rt.config import RawPictures, ReadConfig
from clear_rt.errors import ConfigError, InputError
from clear_rt.frames.layout import PixelLayout, pixel_layout
from clear_rt.frames.sequence import NumberedPictures, is_pattern

_USUAL_RATE = Fraction(25)
RAW_ENDINGS = (".yuv", ".rgb", ".raw")


@dataclass(frozen=True, slots=True)
class Demuxing:
    """FFmpeg's `demuxer`, None where it finds out itself, and what that is told; `sequence` of numbered pictures."""

    demuxer: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    sequence: NumberedPictures | None = None


def demuxing_of(path: Path, config: ReadConfig) -> Demuxing:
    """What `config` says of the file or the pictures at `path`.

    Raises InputError: there are no such pictures, or no whole number of raw ones. Raises ConfigError: `config` says
    what the file says itself, or leaves out what it does not.
    """
    rate = ("framerate", str(config.rate or _USUAL_RATE))
    if config.raw is not None:
        return Demuxing("rawvideo", (rate, *_raw_options(path, config.raw)))
    if is_pattern(path):
        sequence = NumberedPictures(path)
        numbered = ("pattern_type", "sequence"), ("start_number", str(sequence.numbers[0]))
        return Demuxing("image2", (rate, *numbered), sequence)
    if path.suffix.lower() in RAW_ENDINGS:
        raise ConfigError(f"{path} does not say how its pictures are stored; give --raw, such as 1920x1080:yuv420p")
    if config.rate is not None:
        raise ConfigError(f"--rate is for raw and for numbered pictures, and {path} has its own; leave it out")
    return Demuxing()


def _raw_options(path: Path, raw: RawPictures) -> tuple[tuple[str, str], ...]:
    layout = pixel_layout(raw.pixel_format)
    if layout is None:
        raise ConfigError(
            f"--raw: pixel format {raw.pixel_format!r} is not supported; give one of 8 to 16 bits such as yuv420p, "
            "yuv422p10le, nv12 or rgb24"
        )
    picture_bytes = _picture_bytes(raw, layout)
    if path.is_file() and (size_bytes := path.stat().st_size) % picture_bytes:
        raise InputError(
            f"{path} has {size_bytes} bytes, which is no whole number of pictures of {picture_bytes} bytes "
            f"({raw.width_px}x{raw.height_px} {raw.pixel_format}); check --raw"
        )
    return ("video_size", f"{raw.width_px}x{raw.height_px}"), ("pixel_format", raw.pixel_format)


def _picture_bytes(raw: RawPictures, layout: PixelLayout) -> int:
    """The longest component of a buffer says how long the buffer is."""
    samples: dict[int, int] = {}
    for part in layout.components:
        columns = -(-raw.width_px // (1 << part.log2_x)) * part.step
        rows = -(-raw.height_px // (1 << part.log2_y))
        samples[part.buffer] = max(samples.get(part.buffer, 0), columns * rows)
    return sum(samples.values()) * layout.dtype.itemsize
