"""What is left of a file: by `remove`, and by writing frames with OpenCV as the released code of CLEAR does.

`python -m benchmarks.preserved`: one MP4 of several tracks, tags and unequal frame times goes through both. The other
way, pictures are read by OpenCV's VideoCapture and written by its VideoWriter as mp4v; nothing else is done to them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import cv2
import numpy as np

from benchmarks.report import Row, finish
from clear_rt.config import RunConfig
from clear_rt.remover import remove
from clear_rt.shapes import Box

if TYPE_CHECKING:
    from av.container.core import Chapter

SIZE_PX, FRAMES, LINE = (640, 360), 75, Box(180, 300, 280, 30)
_TIME_BASE = Fraction(1, 12800)


class Kept(NamedTuple):
    """Of one file; `outside_db` is PSNR of luma where there never was text, None where nothing changed."""

    streams: str
    times_kept: bool
    colour: str
    pixel_shape: str
    tags: str
    chapters: int
    video_kbps: float
    outside_db: float | None


def source(path: Path) -> Path:
    """A video of BT.709 with pixels of 4:3, an unsteady rate, sound, subtitles, a chapter and tags."""
    rows, columns = np.mgrid[0 : SIZE_PX[1], 0 : SIZE_PX[0]]
    noise = np.random.default_rng(0).normal(0, 3, (*SIZE_PX[::-1], 1))
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "18"})
        video.width, video.height, video.pix_fmt, video.time_base = *SIZE_PX, "yuv420p", _TIME_BASE
        context = video.codec_context
        context.time_base, context.sample_aspect_ratio = _TIME_BASE, Fraction(4, 3)
        context.color_primaries = context.color_trc = context.colorspace = 1
        sound = out.add_stream("aac", rate=48000)
        out.metadata.update({"title": "a title", "comment": "kept"})
        chapter: Chapter = {
            "id": 1,
            "start": 0,
            "end": 2000,
            "time_base": Fraction(1, 1000),
            "metadata": {"title": "one"},
        }
        out.set_chapters([chapter])
        pts = 0
        for index in range(FRAMES):
            planes = 60 + columns // 8 + index, 90 + rows // 6, 120 + (rows + columns) // 16
            picture = np.empty((*SIZE_PX[::-1], 3), np.uint8)
            picture[...] = (np.stack(planes, axis=2) + noise).clip(0, 255)
            _letters(picture)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p", dst_colorspace="itu709")
            frame.pts, frame.time_base = pts, _TIME_BASE
            pts += 512 if index % 3 else 640
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        silence = np.zeros((1, 1024), np.float32)
        for index in range(140):
            chunk = av.AudioFrame.from_ndarray(silence, "fltp", "mono")
            chunk.sample_rate, chunk.pts = 48000, 1024 * index
            out.mux(sound.encode(chunk))
        out.mux(sound.encode(None))
    return path


def _letters(picture: np.ndarray[Any, Any]) -> None:
    for x in range(LINE.x_px + 4, LINE.right_px - 12, 16):
        picture[LINE.y_px + 4 : LINE.bottom_px - 4, x - 2 : x + 6] = 0
        picture[LINE.y_px + 6 : LINE.bottom_px - 6, x : x + 4] = 255


def by_opencv(path: Path, target: Path) -> Path:
    reader = cv2.VideoCapture(str(path))
    rate = reader.get(cv2.CAP_PROP_FPS)
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), rate, SIZE_PX)
    while True:
        found, picture = reader.read()
        if not found:
            break
        writer.write(picture)
    writer.release()
    return target


def kept(original: Path, path: Path) -> Kept:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        pixels = sum(packet.size for packet in container.demux(video))
        streams = ", ".join(f"{s.type} {s.codec_context.name}" for s in container.streams if s.codec_context)
        context = video.codec_context
        colour = f"{context.color_primaries}/{context.color_trc}/{context.colorspace}"
        seconds = float((video.duration or 0) * (video.time_base or 0))
        tags = ", ".join(sorted(key for key in container.metadata if key in ("title", "comment")))
        shape, chapters = str(video.sample_aspect_ratio), len(container.chapters())
    before, after = _luma(original), _luma(path)
    same_times = [time for time, _ in before] == [time for time, _ in after]
    error = np.mean([(_outside(a) - _outside(b)) ** 2 for (_, a), (_, b) in zip(before, after, strict=False)])
    decibels = None if error == 0 else float(10 * np.log10(255**2 / error))
    return Kept(streams, same_times, colour, shape, tags, chapters, 8e-3 * pixels / max(seconds, 1e-9), decibels)


def _luma(path: Path) -> list[tuple[float, np.ndarray[Any, Any]]]:
    with av.open(str(path)) as container:
        return [
            (round(float(frame.time or 0), 4), frame.reformat(format="gray").to_ndarray().astype(np.float64))
            for frame in container.decode(video=0)
        ]


def _outside(luma: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return luma[: LINE.y_px - 40]


def rows(name: str, found: Kept) -> Iterator[Row]:
    figures = ("video", found.video_kbps, "kbit/s"), ("outside of the text", found.outside_db, "dB")
    for metric, value, unit in figures:
        if value is not None:
            detail = found._asdict()
            yield Row(case=name, metric=metric, value=value, unit=unit, bound=None, bound_name="-", detail=detail)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        original = source(Path(folder) / "in.mp4")
        remove(original, Path(folder) / "ours.mp4", RunConfig())
        by_opencv(original, Path(folder) / "opencv.mp4")
        files = {"source": original, "remove": Path(folder) / "ours.mp4", "OpenCV": Path(folder) / "opencv.mp4"}
        found = {name: kept(original, path) for name, path in files.items()}
    for field in Kept._fields:
        print(f"{field:14}", *(f"{name}: {getattr(one, field)}" for name, one in found.items()), sep="  |  ")
    finish("preserved", [row for name, one in found.items() for row in rows(name, one)])


if __name__ == "__main__":
    main()
