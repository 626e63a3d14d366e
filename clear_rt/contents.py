"""Region runs to their generated content, frame by frame, generated ahead of the pass that writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clear_rt import frames
from clear_rt.canvas import Array
from clear_rt.config import CompositeConfig
from clear_rt.crops import Placement, place
from clear_rt.generate import CropGenerator
from clear_rt.leading import Leading, Shown
from clear_rt.regions import RegionRun, Timetable
from clear_rt.report import Stopwatch
from clear_rt.shapes import Size
from clear_rt.threads import Stop, ahead

UInt8 = NDArray[np.uint8]
# Between the passes wait as many frames as a window makes final at once, so that the engine never has to wait for them,
# and no more than this. At 720p a whole picture's crop takes 2.8 MB, and what is generated for it 11 MB.
CROPS_BYTES = 1 << 28
GENERATED_BYTES = 1 << 29
# Groups of a latent's frames, converted for the engine before it asks.
GROUPS = 2


class Contents:
    """The generated content of all runs of one video. Leaving the block ends the pass over the video behind it.

    `shown` are all frames, with their mattes where the generator has drafts. A run's place in `runs` is its ordinal, by
    which its noise is drawn. Everything is generated in the order of frames, and of `regions.Timetable` within a frame,
    on one thread that drives the engine; it starts with the first frame that is asked for.
    """

    def __init__(
        self,
        info: frames.VideoInfo,
        shown: Generator[Shown, None, None],
        runs: list[RegionRun],
        generator: CropGenerator,
        watch: Stopwatch,
        tell: Callable[[int, int], None] = lambda done, total: None,
        stop: Stop | None = None,
    ) -> None:
        spec, picture = generator.spec, Size(info.width_px, info.height_px)
        self._placements = {
            run: place(run.box, picture, spec.multiple_px, spec.max_pixels, spec.profiles) for run in runs
        }
        self._runs, self._generator, self._watch = runs, generator, watch
        self._stop = stop or Stop()
        run_frames = [run.stop_frame - run.start_frame for run in runs]
        burst_frames = max(map(generator.burst_frames, run_frames), default=1)
        most_pixels = _most_pixels(self._placements)
        self._leading = Leading(
            shown,
            info.path,
            self._placements,
            _depth(burst_frames, 3 * most_pixels, CROPS_BYTES),
            generator.side.pictures,
            watch,
            self._stop,
        )
        depth_frames = waiting_frames(burst_frames, most_pixels)
        self._frames = ahead(watch.handed(self._generated(), "wait for room"), depth_frames, stop=self._stop)
        self._waiting: dict[RegionRun, deque[Array]] = {run: deque() for run in runs}
        self._tell, self._told, self._calls_done = tell, -1, 0
        self._calls = sum(map(generator.calls, run_frames))
        self.notes, self.runs_short = generator.notes(run_frames), generator.short_runs(run_frames)
        self.windows = sum(len(generator.plan(total_frames).windows) for total_frames in run_frames)
        self.regions_scaled = sum(placement.is_scaled for placement in self._placements.values())

    def next_of(self, run: RegionRun) -> Array:
        """What was generated for `run`, for `pasted`: of its first frame first, then of one frame after another.

        As long as runs are asked for in the order of frames, nothing is held besides. Raises what the engine and the
        decoder raise.
        """
        waiting = self._waiting[run]
        while not waiting:
            for owner, frame in next(self._frames).items():
                self._waiting[owner].append(frame)
        return waiting.popleft()

    def pasted(
        self, frame: frames.Frame, run: RegionRun, matte: UInt8, config: CompositeConfig, generated: Array
    ) -> frames.Frame:
        """`frame` with the text of `run` replaced, as `Pictures.pasted`; on any thread."""
        return self._generator.side.pictures.pasted(frame, self._placements[run], matte, config, generated)

    def tell(self) -> None:
        """Tells, on this thread, of every call of the model since this was last called.

        `tell(done, total)` hears how many of those of all runs are done, at first of none.
        """
        done = self._calls_done
        while self._calls and self._told < done:
            self._told += 1
            self._tell(self._told, self._calls)

    def _generated(self) -> Generator[dict[RegionRun, Array], None, None]:
        """The generated frames of every frame of the video that lies in a run."""
        runs, under_way = Timetable(self._runs), dict[RegionRun, Generator[Array, None, None]]()
        ordinals = {run: ordinal for ordinal, run in enumerate(self._runs)}
        try:
            for index in _frames_within(self._runs):
                active = runs.at(index)
                for run in active:
                    if run not in under_way:
                        under_way[run] = self._of_run(run, ordinals[run])
                made = {run: next(under_way[run]) for run in active}
                for run in active:
                    if run.stop_frame == index + 1:
                        # The engine's caches are as large as a window; they go with the last frame.
                        under_way.pop(run).close()
                yield made
        finally:
            for generating in under_way.values():
                generating.close()

    def _of_run(self, run: RegionRun, ordinal: int) -> Generator[Array, None, None]:
        total_frames = run.stop_frame - run.start_frame
        watch, generator = self._watch, self._generator
        crops = watch.each(self._leading.crops(run), "wait to convert")
        converted = watch.each(generator.groups(crops, total_frames), "convert crops")
        with closing(ahead(converted, GROUPS, stop=self._stop)) as groups:
            waited = watch.each(groups, "wait for crops")
            yield from generator.frames(ordinal, waited, total_frames, watch, self._called)

    def _called(self) -> None:
        self._calls_done += 1
        self._stop.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with closing(self._leading):
            self._frames.close()


def waiting_frames(burst_frames: int, pixels: int) -> int:
    """Generated frames that wait for the pass that writes, of so many pixels each, where a window makes `burst_frames`
    final at once.
    """
    return _depth(burst_frames, 12 * pixels, GENERATED_BYTES)


def _frames_within(runs: Iterable[RegionRun]) -> Iterator[int]:
    """Indices of the frames that lie in a run, in order."""
    following = 0
    for run in sorted(runs):
        yield from range(max(run.start_frame, following), run.stop_frame)
        following = max(following, run.stop_frame)


def _most_pixels(placements: dict[RegionRun, Placement]) -> int:
    """Pixels of all crops of one frame, at most."""
    table, runs = Timetable([*placements]), sorted(placements)
    return max((sum(_pixels(placements[run]) for run in table.at(run.start_frame)) for run in runs), default=1)


def _pixels(placement: Placement) -> int:
    return placement.profile.width_px * placement.profile.height_px


def _depth(burst_frames: int, frame_bytes: int, most_bytes: int) -> int:
    return max(1, min(burst_frames, most_bytes // frame_bytes))
