"""How long the model's fill takes to be ready, and what the package weighs: python -m benchmarks.bench_start"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.environment import ROOT
from benchmarks.measure import run_python, timing
from benchmarks.report import Row, finish

RUNS = 5
# Asked for by the project: a command that feels immediate, a wheel that every index takes.
LIMIT_S, LIMIT_MB = 2.0, 30.0
_BODY = """
import time
begun = time.perf_counter()
from clear_rt.config import CompositeConfig, RunConfig
from clear_rt.remover import Remover
remover = Remover(RunConfig(composite=CompositeConfig(fill="model")))
opened, first = time.perf_counter() - begun, []
remover(Path(sys.argv[1]), Path(sys.argv[2]), None, lambda cleaned: first or first.append(time.perf_counter() - begun))
result = [opened, first[0]]
"""


def main() -> None:
    video = ROOT / "samples" / "city-subtitled.mp4"
    with tempfile.TemporaryDirectory() as folder:
        found = [run_python(_BODY, [str(video), f"{folder}/out.mp4"]).result for _ in range(RUNS)]
        opened, first = (timing(seconds) for seconds in zip(*found, strict=True))
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT)], check=True, capture_output=True
        )
        (wheel,) = Path(folder).glob("*.whl")
        megabytes = wheel.stat().st_size / 1e6
    figures = (
        ("open, --fill model", opened.median_s, "s", LIMIT_S),
        ("first frame out", first.median_s, "s", LIMIT_S),
        ("wheel", megabytes, "MB", LIMIT_MB),
    )
    finish(
        "start",
        [
            Row(case=video.name, metric=metric, value=value, unit=unit, bound=bound, bound_name="limit")
            for metric, value, unit, bound in figures
        ],
    )


if __name__ == "__main__":
    main()
