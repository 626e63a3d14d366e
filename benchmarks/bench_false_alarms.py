"""What is taken for subtitles where there are none: clips that training never saw, and shots of bbb.mp4 set aside.

`python -m benchmarks.bench_false_alarms [CLIP ...]`. A clip's figure is the number of regions that `clear-rt remove`
would edit; overlays that it leaves alone as signs are in the row's detail.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import astuple
from itertools import islice
from pathlib import Path

from benchmarks.clips import HOME
from benchmarks.report import Row, finish
from clear_rt import frames
from clear_rt.remover import Remover
from training.backgrounds import SET_ASIDE
from training.materials import HELD_OUT, fetch_clips


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="clips without text in the place of those")
    clips = parser.parse_args(arguments).clips or _clips()
    remover = Remover()
    rows = [_row(remover, clip) for clip in clips]
    alarmed = sum(row.value > 0 for row in rows)
    finish("alarms", [*rows, _whole(rows, alarmed)])
    return 0


def _clips() -> list[Path]:
    found = fetch_clips((*HELD_OUT, "bbb.mp4"))
    return [*(found[name] for name in HELD_OUT), *shots(found["bbb.mp4"], SET_ASIDE)]


def shots(video: Path, spans: Sequence[tuple[int, int]]) -> Iterator[Path]:
    """Frames first .. last of `video` as files of their own, next to lossless, in order; `spans` grow."""
    with closing(frames.read(video)) as pictures:
        at = 0
        for first, last in spans:
            target = HOME / f"{video.stem}-{first}-{last}.mp4"
            some = islice(pictures, first - at, last + 1 - at)
            if target.exists():
                # The pictures are decoded all the same, for those that come after them.
                list(map(_passed, some))
            else:
                _write(target, some, frames.probe(video))
            at = last + 1
            yield target


def _passed(frame: frames.Frame) -> None:
    """Let go at once."""


def _write(target: Path, pictures: Iterator[frames.Frame], info: frames.VideoInfo) -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    with frames.PlainWriter(target, info.width_px, info.height_px, info.rate, frames.RGB_TO_WATCH) as writer:
        for i, frame in enumerate(pictures):
            writer.write(frame.rgb(info.height_px, info.width_px), round(i * 1_000_000 / info.rate))


def _row(remover: Remover, clip: Path) -> Row:
    scanned = remover.look(clip).scanned
    return Row(
        case=clip.stem,
        metric="regions",
        value=len(scanned.runs),
        unit="",
        bound=None,
        bound_name="0 is right",
        detail={"frames": scanned.frames, "boxes": [list(astuple(run.box)) for run in scanned.runs]},
    )


def _whole(rows: Sequence[Row], alarmed: int) -> Row:
    count = sum(row.detail["frames"] for row in rows)
    return Row(
        case=f"{len(rows)} clips, {count} frames",
        metric="with a false region",
        value=alarmed,
        unit="clips",
        bound=None,
        bound_name="0 is right",
    )


if __name__ == "__main__":
    raise SystemExit(main())
