"""Training data in numbered files, made by two processes; those that are there are left, so that a run can go on."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Stretch = TypeVar("Stretch")


def write_shards(
    what: str,
    shard: Callable[[tuple[int, Stretch, Path, int]], int],
    stretches: Sequence[Stretch],
    folder: Path,
    seed: int,
) -> int:
    """Have `shard` write the missing `what`-NNN.npy in `folder`, one per stretch. Returns the crops written.

    It takes (number, stretch, path, seed) and returns how many crops it wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(n, stretch, folder / f"{what}-{n:03d}.npy", seed) for n, stretch in enumerate(stretches)]
    jobs = [job for job in jobs if not job[2].exists()]
    begun, written = time.monotonic(), 0
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for done, count in enumerate(pool.imap_unordered(shard, jobs), 1):
            written += count
            spent_s = time.monotonic() - begun
            print(f"{folder.name}: shard {done}/{len(jobs)}, {written} crops, {spent_s:.0f} s", flush=True)
    return written
