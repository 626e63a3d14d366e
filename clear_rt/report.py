"""What a run did, for people, for --json and for benchmarks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from clear_rt.regions import RegionRun
from clear_rt.shapes import Box

S = TypeVar("S")
T = TypeVar("T")


class Stopwatch:
    """Seconds spent per stage, nested stages counted once, in the innermost.

    Stages on different threads overlap, so the sum may exceed the time that the run took; so may a stage that several
    threads share. A stage that begins with "wait" is a thread that had nothing to do.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._adding = threading.Lock()
        self._here = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        outer = getattr(self._here, "inner_seconds", 0.0)
        self._here.inner_seconds = 0.0
        begun = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - begun
            with self._adding:
                self.seconds[name] = self.seconds.get(name, 0.0) + elapsed - self._here.inner_seconds
            self._here.inner_seconds = outer + elapsed

    def each(self, items: Iterable[T], stage: str) -> Iterator[T]:
        """The same items; what it takes to get each of them counts for `stage`."""
        iterator = iter(items)
        try:
            while True:
                with self.stage(stage):
                    item = next(iterator, _NOTHING)
                if isinstance(item, _Nothing):
                    return
                yield item
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    def handed(self, items: Iterable[T], stage: str) -> Iterator[T]:
        """The same items; what it takes until the next of them is asked for counts for `stage`.

        For the outermost generator of a thread: a stage around this one would end in the middle of it.
        """
        iterator = iter(items)
        try:
            for item in iterator:
                with self.stage(stage):
                    yield item
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    def timed(self, function: Callable[[S], T], stage: str) -> Callable[[S], T]:
        """The same function; its calls count for `stage`."""

        def call(item: S) -> T:
            with self.stage(stage):
                return function(item)

        return call


class _Nothing:
    """Marks the end of an iterator, unlike any item."""


_NOTHING = _Nothing()


@dataclass(frozen=True, slots=True)
class Sign:
    """What looked like text and was left alone, as it stays: in `box`, in pixels of the upright picture.

    Times are in microseconds of the video's first frame on, the end excluded.
    """

    start_us: int
    stop_us: int
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Frames are counted over the whole video; `frames_changed` of them differ from the source before encoding.

    With smart copy `frames_copied` of them are the packets of the source; `frames_resumed` were finished by an earlier
    run.

    `intervals_us` say when the text of each of the runs is shown, in microseconds of the video's first frame on, the
    end excluded; the video lasts `duration_us`. `signs` are sorted by their start; one that was gone for long
    is there again for every time that it was seen.

    `video_copied` is true where no text was found and the packets were copied as they are; no text and a container that
    cannot take them as they are means encoding unchanged frames. `stage_seconds` are per stage (docs/STRUCTURE.md says
    of which thread) and overlap; `seconds` is wall clock. `dropped_streams` are sentences about what the container
    refused, `notes` about what was made up for the fill and what was asked for in vain, `gpu_notes` about why it was
    not the GPU that decoded or encoded. `decoder` is "nvdec" where that gave any frame after the first pass, which is
    the CPU's. `policy`, `steps` and `seed` are None where no model filled, `seed` also where noise came from a file;
    `windows` were denoised, `regions_scaled` of the runs were shrunk for the model, and `runs_short` of them are
    shorter than its window.
    """

    source: Path
    target: Path
    frames: int
    frames_changed: int
    video_copied: bool
    runs: tuple[RegionRun, ...]
    bundle: str
    engine: str
    fill: str
    composite: str
    encoder: str
    dropped_streams: tuple[str, ...]
    seconds: float
    stage_seconds: dict[str, float]
    policy: str | None = None
    steps: int | None = None
    seed: int | None = None
    windows: int = 0
    regions_scaled: int = 0
    runs_short: int = 0
    notes: tuple[str, ...] = ()
    decoder: str = "cpu"
    gpu_notes: tuple[str, ...] = ()
    frames_copied: int = 0
    frames_resumed: int = 0
    intervals_us: tuple[tuple[int, int], ...] = ()
    duration_us: int = 0
    signs: tuple[Sign, ...] = ()

    @property
    def fps(self) -> float:
        """Source frames per second of wall clock, both passes over the file included."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Only JSON types."""
        fields = asdict(self) | {"source": str(self.source), "target": str(self.target)}
        return fields | {
            "fps": round(self.fps, 2),
            "stage_seconds": {k: round(v, 3) for k, v in self.stage_seconds.items()},
        }


def gpu_notes(**why_not: str | None) -> tuple[str, ...]:
    """A sentence for each task, such as `decoding`, that a reason is given for; None where there is no reason."""
    return tuple(f"GPU not used for {task} because {reason}" for task, reason in why_not.items() if reason)
