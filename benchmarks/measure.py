"""Times of calls, and time and peak memory of processes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# VmHWM belongs to the program alone; the ru_maxrss that wait4 returns counts the parent's memory before exec as well.
_MEASURED = """
import json, sys
from pathlib import Path
{body}
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({{"peak_bytes": int(peak.split()[1]) * 1024, "result": result}}))
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """Median and the 20th and 80th percentile of several runs, in seconds."""

    median_s: float
    p20_s: float
    p80_s: float
    runs: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What a process took and returned."""

    seconds: float
    peak_bytes: int
    result: Any


def timing(seconds: Sequence[float]) -> Timing:
    """Summary of measured times."""
    if len(seconds) == 1:
        return Timing(seconds[0], seconds[0], seconds[0], 1)
    fifths = statistics.quantiles(seconds, n=5, method="inclusive")
    return Timing(statistics.median(seconds), fifths[0], fifths[-1], len(seconds))


def time_call(call: Callable[[], object], *, runs: int = 5, warmups: int = 1) -> Timing:
    """Wall-clock time of `call()`."""
    for _ in range(warmups):
        call()
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return timing(seconds)


def run_python(body: str, arguments: Sequence[str] = ()) -> Finished:
    """Run statements in a fresh interpreter. `arguments` are its sys.argv[1:]; they set `result` to something JSON."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED.format(body=body), *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - begun
    answer = json.loads(done.stdout.splitlines()[-1])
    return Finished(seconds, answer["peak_bytes"], answer["result"])
