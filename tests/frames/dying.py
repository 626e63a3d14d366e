"""Writers that die: a process of its own that forks one for each way to die, and then one that may live.

    python -m tests.frames.dying SOURCE TARGET SEED DEATHS

A child dies by SIGKILL before its n-th look at the file system, or by a timer's signal wherever it is then; neither
leaves Python a chance to clean up. Prints what each child found finished and how it ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from clear_rt.config import WriteConfig
from clear_rt.frames import SegmentedWriter, Work, probe, read
from tests.frames.moving import every_packet

_LOOKS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir", "shutil.rmtree"}
SEGMENT_FRAMES = 6


def write(source: Path, target: Path) -> int:
    """The whole job, with something stored beside each segment; returns how many frames were finished before."""
    info, config = probe(source), WriteConfig(crf=30)
    with (
        Work(source, target, {"any": "option"}) as work,
        SegmentedWriter(info, target, config, work, segment_frames=SEGMENT_FRAMES) as writer,
    ):
        finished = writer.finished_frames
        for number in range(len(work.segments)):
            assert work.load("state", number) == b"state %d" % number
        for frame in read(info):
            if frame.index % SEGMENT_FRAMES == 0 and frame.index >= finished:
                number = frame.index // SEGMENT_FRAMES
                work.store("state", b"state %d" % number, number)
            writer.write(frame)
    return finished


def die_at_look(count: int) -> None:
    """Before the `count`-th look at the file system from now on."""
    left = count

    def hook(event: str, _args: object) -> None:
        nonlocal left
        if event in _LOOKS:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def count_looks(work: Callable[[], object]) -> int:
    """How many of them `work()` takes."""
    count = 0

    def hook(event: str, _args: object) -> None:
        nonlocal count
        count += event in _LOOKS

    sys.addaudithook(hook)
    work()
    return count


def forked(work: Callable[[], object]) -> dict[str, Any]:
    """Runs `work()` in a child: what it returned, and 0 or the signal that ended it."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        status = 1
        try:
            os.write(writing, json.dumps({"returned": work()}).encode())
            status = 0
        except Exception:  # noqa: BLE001 - a child has nobody to raise it to
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    return {"ended": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])} | (json.loads(said) if said else {})


def digest(path: Path) -> str:
    """Of every packet of every stream."""
    return hashlib.sha256(repr(every_packet(path)).encode()).hexdigest()


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    rng, deaths = random.Random(int(sys.argv[3])), int(sys.argv[4])
    begun = time.perf_counter()
    looks = forked(lambda: count_looks(lambda: write(source, target)))["returned"]
    seconds = time.perf_counter() - begun
    results = [forked(lambda: digest(target))["returned"]]
    target.unlink()

    def dying(share: float, by_timer: bool) -> int:
        if by_timer:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, share * seconds))
        else:
            die_at_look(1 + int(share * looks))
        return write(source, target)

    ends = []
    for death in range(deaths):
        share = rng.random()
        ends.append(forked(partial(dying, share, death % 2 == 1)))
        if target.exists():
            # It was done before it was to die, and the next one starts anew.
            results.append(forked(lambda: digest(target))["returned"])
            target.unlink()
    ends.append(forked(lambda: write(source, target)))
    results.append(forked(lambda: digest(target))["returned"])
    print(json.dumps({"ends": ends, "results": results}))


if __name__ == "__main__":
    main()
