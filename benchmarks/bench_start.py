"""The embedded model as it is shipped: how soon it is ready, how fast it fills, what the package weighs.

`python -m benchmarks.bench_start`
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.clips import clip
from benchmarks.environment import ROOT
from benchmarks.measure import run_python, timing
from benchmarks.report import Row, finish

RUNS = 5
# Asked for by the project: a command that feels immediate, a wheel that every index takes, and no slower than this.
LIMIT_S, LIMIT_MB, LEAST_FPS = 2.0, 30.0, 2.0
_BODY = """
import time
begun = time.perf_counter()
from clear_rt.config import CompositeConfig, RunConfig
from clear_rt.remover import Remover
remover = Remover(RunConfig(composite=CompositeConfig(fill="model")))
opened, first = time.perf_counter() - begun, []
def seen(_):
    first.append(time.perf_counter() - begun)
report = remover(Path(sys.argv[1]), Path(sys.argv[2]), None, seen)
result = [opened, first[0], report.fps, report.frames, report.frames_changed]
"""


def _start_rows(video: Path, folder: Path) -> list[Row]:
    found = [run_python(_BODY, [str(video), str(folder / "out.mp4")]).result for _ in range(RUNS)]
    opened, first = (timing(seconds).median_s for seconds in list(zip(*found, strict=True))[:2])
    return [
        Row(case=video.name, metric=metric, value=value, unit="s", bound=LIMIT_S, bound_name="limit")
        for metric, value in (("open, --fill model", opened), ("first frame out", first))
    ]


def _speed_row(folder: Path) -> Row:
    _, _, fps, frames, changed = run_python(_BODY, [str(clip(640, 360, 4, text=True)), str(folder / "fast.mp4")]).result
    return Row(case="640x360, text on every frame", metric="remove, model", value=fps, unit="fps", bound=LEAST_FPS,
               bound_name="asked for", detail={"frames": frames, "frames_changed": changed})  # fmt: skip


def _wheel_row(folder: Path) -> Row:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    return Row(case="package", metric="wheel", value=wheel.stat().st_size / 1e6, unit="MB", bound=LIMIT_MB,
               bound_name="limit")  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*_start_rows(ROOT / "samples" / "city-subtitled.mp4", folder), _speed_row(folder), _wheel_row(folder)]
    finish("start", rows)


if __name__ == "__main__":
    main()
