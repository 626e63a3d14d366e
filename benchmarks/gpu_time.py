"""Times of work on a GPU, by events around replays of a CUDA graph, so that launches cost nothing; its ceilings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from benchmarks.measure import Timing, timing

Call = Callable[[], object]

# Long enough for the clock to settle, short enough for 60 cases and their rivals in a few minutes.
WARM_UP_US = 30_000.0
MEASURED_US = 150_000.0
LEAST_RUNS, MOST_RUNS = 7, 100
# What is between two events takes as long at least: they themselves take a few microseconds.
BETWEEN_EVENTS_US = 1_000.0
# All calls in turn take as long at most: of slow ones there are fewer, to which caches matter less.
TURN_US = 50_000.0
COPY_BYTES = 1 << 30
MATRIX_SIZE = 8192


class Timed(NamedTuple):
    """Seconds of a call, and whether it was replayed; else they count what launching costs."""

    timing: Timing
    replayed: bool


def time_gpu(calls: Sequence[Call]) -> Timed:
    """Of one of `calls`, which run in turn: the same work on other memory, more in all than the caches hold."""
    calls[0]()
    calls = calls[: max(1, int(TURN_US / _run_us(calls[0], 1)))]
    run, replayed = _captured(calls)
    turn_us = _run_us(run, 1)
    replays = int(BETWEEN_EVENTS_US / turn_us) + 1
    run_us = replays * turn_us
    for _ in range(min(MOST_RUNS, int(WARM_UP_US / run_us) + 1)):
        _run_us(run, replays)
    runs = max(LEAST_RUNS, min(MOST_RUNS, int(MEASURED_US / run_us)))
    seconds = [_run_us(run, replays) / (1e6 * replays * len(calls)) for _ in range(runs)]
    return Timed(timing(seconds), replayed)


def copy_gb_per_s() -> float:
    """Device memory to device memory; bytes read and bytes written both count."""
    source = torch.randint(256, (COPY_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / time_gpu([lambda: target.copy_(source)]).timing.median_s / 1e9


def matmul_tflop_per_s(dtype: torch.dtype) -> float:
    """A large matrix product of bfloat16 or E4M3 through torch, of normal numbers: zeros run faster."""
    left, right = (torch.randn(MATRIX_SIZE, MATRIX_SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    if dtype == torch.float8_e4m3fn:
        one = torch.ones((), device="cuda")
        left8, right8 = left.to(dtype), right.to(dtype).T
        seconds = time_gpu(
            [lambda: torch._scaled_mm(left8, right8, one, one, out_dtype=torch.bfloat16, use_fast_accum=True)]
        ).timing.median_s
    else:
        seconds = time_gpu([lambda: left @ right]).timing.median_s
    return 2 * MATRIX_SIZE**3 / seconds / 1e12


def _captured(calls: Sequence[Call]) -> tuple[Call, bool]:
    """All `calls` as one replay, or as they are where that cannot be.

    What they return lives until the last is done, so that each writes memory of its own.
    """

    def all_of_them() -> None:
        kept = [call() for call in calls]
        kept.clear()

    stream, before = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        for _ in range(2):
            all_of_them()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            all_of_them()
    except RuntimeError:
        # A capture that fails leaves its stream the current one.
        torch.cuda.set_stream(before)
        torch.cuda.synchronize()
        return all_of_them, False
    return graph.replay, True


def _run_us(run: Call, replays: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    for _ in range(replays):
        run()
    end.record()
    end.synchronize()
    return max(1000 * float(begin.elapsed_time(end)), 0.1)
