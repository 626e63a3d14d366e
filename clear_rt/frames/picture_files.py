"""Files that hold pictures and nothing else: numbered, raw, and YUV4MPEG2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clear_rt.frames.info import VideoInfo
from clear_rt.frames.sequence import PICTURES

PICTURES_ALONE = {"image2", "yuv4mpegpipe", "rawvideo"}


def encoders_of(target: Path, muxer: str) -> Sequence[str] | None:
    """The encoders whose output such a file may hold; None for all other containers."""
    if muxer == "image2":
        return (PICTURES[target.suffix.lower()],)
    return ("rawvideo",) if muxer in PICTURES_ALONE else None


def always_needed(muxer: str) -> dict[str, str]:
    """Options without which a muxer refuses some pictures: FFmpeg's y4m beyond 8 bits is not in that format's text."""
    return {"strict": "-1"} if muxer == "yuv4mpegpipe" else {}


def lost_times(info: VideoInfo, muxer: str) -> str | None:
    """The sentence to report where frames of different length come out equally long."""
    if not info.is_vfr or muxer not in PICTURES_ALONE:
        return None
    return f"the times of the frames were left out, which {muxer} cannot say; give the output the extension .mkv"


def same_pictures(info: VideoInfo, target: Path, muxer: str) -> bool:
    """Whether `target` takes the numbered pictures of `info` as they are, file by file."""
    return (
        info.demuxing.sequence is not None and PICTURES.get(target.suffix.lower()) == info.codec and muxer == "image2"
    )
