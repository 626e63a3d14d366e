"""Peak memory of the main job on a short and on a long clip with text in a part of them: it must not grow.

`python -m benchmarks.bench_memory [--minutes 10] [--text-seconds 10]`. Each removal runs in a process of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.clips import long_clip
from benchmarks.measure import run_python
from benchmarks.report import Row, finish

WIDTH_PX, HEIGHT_PX = 640, 360
SHORT_SECONDS, TEXT_SECONDS = 30, 10
MIB = 1 << 20
LIMIT_MIB = 1e9 / MIB

_IMPORT = "import av, numpy, onnxruntime, clear_rt.remover; result = None"
_REMOVE = "import clear_rt; result = clear_rt.remove(sys.argv[1], sys.argv[2]).as_dict()"


def measure(seconds: int, text_seconds: int, bound_mib: float, bound_name: str) -> Row:
    """Peak resident memory of removing the text of a clip that long, which has it for `text_seconds`."""
    video = long_clip(WIDTH_PX, HEIGHT_PX, seconds, text_seconds=text_seconds)
    with tempfile.TemporaryDirectory() as folder:
        done = run_python(_REMOVE, [str(video), str(Path(folder) / "out.mp4")])
    return Row(
        case=f"{WIDTH_PX}x{HEIGHT_PX} {seconds} s, text in {text_seconds} s",
        metric="peak memory",
        value=done.peak_bytes / MIB,
        unit="MiB",
        bound=bound_mib,
        bound_name=bound_name,
        detail={"seconds": done.seconds, "report": done.result},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="length of the long clip")
    parser.add_argument("--text-seconds", type=int, default=TEXT_SECONDS, help="how much of it has text")
    options = parser.parse_args()
    imports = Row(
        case="no clip",
        metric="imports alone",
        value=run_python(_IMPORT).peak_bytes / MIB,
        unit="MiB",
        bound=None,
        bound_name="is a floor",
    )
    short = measure(SHORT_SECONDS, TEXT_SECONDS, LIMIT_MIB, "limit of 1 GB")
    long = measure(round(options.minutes * 60), options.text_seconds, short.value, f"{SHORT_SECONDS} s clip")
    finish("memory", [imports, short, long])


if __name__ == "__main__":
    main()
