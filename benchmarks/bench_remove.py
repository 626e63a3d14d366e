"""Speed of the main job: frames per second from file to file, beside what coding the video alone would allow.

`python -m benchmarks.bench_remove [--seconds 8] [--runs 3]`. The clips are the sample scaled; see clips.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import clear_rt
from benchmarks.clips import clip
from benchmarks.measure import timing
from benchmarks.peaks import coding_fps
from benchmarks.report import Row, finish, print_stages
from clear_rt.config import WriteConfig


@dataclass(frozen=True, slots=True)
class Case:
    """A size, with or without text on every frame."""

    width_px: int
    height_px: int
    text: bool

    @property
    def name(self) -> str:
        return f"{self.width_px}x{self.height_px} {'text' if self.text else 'no text'}"


CASES = (Case(640, 360, True), Case(1280, 720, True), Case(640, 360, False))


def measure(case: Case, seconds: int, runs: int) -> Row:
    """`runs` removals after one that warms the disk cache; the stages are those of the run nearest the median."""
    video = clip(case.width_px, case.height_px, seconds, text=case.text)
    done: list[tuple[float, clear_rt.Report]] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs + 1):
            begun = time.perf_counter()
            report = clear_rt.remove(video, Path(folder) / "out.mp4")
            done.append((time.perf_counter() - begun, report))
    times = timing([elapsed for elapsed, _ in done[1:]])
    typical = min(done[1:], key=lambda run: abs(run[0] - times.median_s))[1]
    return Row(
        case=case.name,
        metric="remove",
        value=typical.frames / times.median_s,
        unit="fps",
        # A file without text is decoded once and copied; one with text is decoded twice and encoded once.
        bound=coding_fps(video, WriteConfig(), decodes=2 if case.text else 1, encodes=int(case.text)),
        bound_name="coding alone",
        detail={
            "frames": typical.frames,
            "frames_changed": typical.frames_changed,
            "video_copied": typical.video_copied,
            "timing": asdict(times),
            "stage_seconds": typical.stage_seconds,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="length of each clip")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for case in CASES:
        rows.append(measure(case, options.seconds, options.runs))
        print_stages(rows[-1], f"{rows[-1].detail['frames_changed']} of {rows[-1].detail['frames']} frames changed")
    finish("remove", rows)


if __name__ == "__main__":
    main()
