"""Videos to measure with, made from samples/city-clean.mp4 and kept in .cache/benchmarks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, cycle, islice
from pathlib import Path

import av
from av.video.reformatter import Interpolation

from benchmarks.environment import ROOT
from clear_rt.burn.config import BurnConfig
from clear_rt.burn.lines import Caption
from clear_rt.burn.video import burn

SAMPLE = ROOT / "samples" / "city-clean.mp4"
HOME = ROOT / ".cache" / "benchmarks"
FPS = 25
CAPTION_US = 2_000_000
# Different ones: what stays the same for long is taken for a sign.
LINES = (
    ("Every frame of this clip", "carries two lines of text"),
    ("Nobody knows", "how the river got its name"),
    ("Wait for us at the bridge", "until the lamps are lit"),
    ("She never said a word", "about the letter"),
    ("We left at four o'clock", "and walked along the wall"),
)


def clip(width_px: int, height_px: int, seconds: int, *, text: bool) -> Path:
    """The sample forwards and backwards, scaled, until `seconds` are full; with text on every frame if `text`."""
    path = _path(f"{width_px}x{height_px}-{seconds}s-{'text' if text else 'clean'}")
    if not path.exists():
        scaled = _path(f"{width_px}x{height_px}-{seconds}s-scaled")
        _encode(scaled, width_px, height_px, seconds * FPS)
        starts_us = range(0, seconds * 1_000_000 if text else 0, CAPTION_US)
        shown = zip(starts_us, cycle(LINES), strict=False)
        captions = [Caption(start_us, start_us + CAPTION_US, lines, "en") for start_us, lines in shown]
        burn(scaled, path, BurnConfig(style="outline"), captions=captions)
    return path


def long_clip(width_px: int, height_px: int, seconds: int, *, text_seconds: int) -> Path:
    """`seconds` of video of which the second stretch of `text_seconds` carries text, joined from encoded packets."""
    path = _path(f"{width_px}x{height_px}-{seconds}s-of-which-{text_seconds}s-text")
    if not path.exists():
        clean = clip(width_px, height_px, text_seconds, text=False)
        texted = clip(width_px, height_px, text_seconds, text=True)
        stretches = chain((clean, texted), cycle((clean,)))
        _join(path, list(islice(stretches, -(-seconds // text_seconds))))
    return path


def _path(name: str) -> Path:
    causes = SAMPLE.read_bytes() + Path(__file__).read_bytes()
    HOME.mkdir(parents=True, exist_ok=True)
    return HOME / f"{name}-{hashlib.sha256(causes).hexdigest()[:8]}.mp4"


def _pictures() -> Iterator[av.VideoFrame]:
    with av.open(str(SAMPLE)) as container:
        pictures = list(container.decode(video=0))
    return cycle(pictures + pictures[::-1])


def _encode(path: Path, width_px: int, height_px: int, frames: int) -> None:
    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "14", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        for index, picture in enumerate(islice(_pictures(), frames)):
            scaled = picture.reformat(width_px, height_px, interpolation=Interpolation.BICUBIC)
            scaled.pts, scaled.time_base, scaled.pict_type = index, Fraction(1, FPS), 0
            container.mux(stream.encode(scaled))
        container.mux(stream.encode(None))
    os.replace(part, path)


def _join(path: Path, clips: list[Path]) -> None:
    """Clips of the same encoder one after another; its parameters stand in the file once, so they must be equal."""
    part = path.with_suffix(".part.mp4")
    with av.open(str(clips[0])) as first, av.open(str(part), "w") as container:
        stream = container.add_stream_from_template(first.streams.video[0])
        begin = Fraction(0)
        for source_path in clips:
            with av.open(str(source_path)) as source:
                video = source.streams.video[0]
                assert video.time_base is not None
                if video.codec_context.extradata != stream.codec_context.extradata:
                    raise RuntimeError(f"{source_path} was encoded with other parameters than {clips[0]}")
                offset = round(begin / video.time_base)
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = (packet.pts or 0) + offset, packet.dts + offset
                    packet.stream = stream
                    container.mux(packet)
                begin += Fraction(video.frames, FPS)
    os.replace(part, path)
