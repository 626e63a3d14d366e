"""Region runs to their generated content, frame by frame, generated ahead of the pass that writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clear_rt import frames
from clear_rt.canvas import Array
from clear_rt.config import CompositeConfig
from clear_rt.contents_state import ContentsState, KeepState, Start, placements_of
from clear_rt.crops import Placement
from clear_rt.generate import CropGenerator
from clear_rt.leading import Leading, Shown
from clear_rt.regions import RegionRun, Timetable
from clear_rt.report import Stopwatch
from clear_rt.states import Stored
from clear_rt.threads import Stop, ahead
from clear_rt.under_way import UnderWay

UInt8 = NDArray[np.uint8]
# Between the passes wait as many frames as a window makes final at once, so that the engine never has to wait for them,
# and no more than this. At 720p a whole picture's crop takes 2.8 MB, and what is generated for it 11 MB.
CROPS_BYTES = 1 << 28
GENERATED_BYTES = 1 << 29
# Of the time, at most, goes into states. At the real size one takes 2 GB, mostly frames that the VAE keeps.
STATE_SHARE = 0.05


class Contents:
    """The generated content of all runs of one video. Leaving the block ends the pass over the video behind it.

    `shown` are all frames, with their mattes where the generator has drafts. A run's place in `runs` is its ordinal, by
    which its noise is drawn. Everything is generated in the order of frames, and of `regions.Timetable` within a frame,
    on one thread that drives the engine; it starts with the first frame that is asked for.

    From the first frame of a `start` on it is the same bit for bit, and `next_of` is asked from there on; frames before
    its first crop need not be `shown`. At each of `state_frames` where runs are under way the engine's thread calls
    `keep_state(frame, state)`, before anyone gets the content of the frame before, with what `start_of` takes for that
    frame, unless the last one took so long that it has to wait; an engine that cannot be restarted has no states.
    Raises StateError where the engine does not take one up.
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
        *,
        start: Start = Start(),  # noqa: B008 - it cannot be changed
        state_frames: Sequence[int] = (),
        keep_state: KeepState = lambda frame, state: None,
    ) -> None:
        self._placements = placements_of(generator, info, runs)
        self._runs, self._generator, self._watch = runs, generator, watch
        self._stop = stop or Stop()
        self._state, self._keep_state = ContentsState(generator, self._placements), keep_state
        self._next_state_s = 0.0
        self._due = deque(frame for frame in sorted(state_frames) if frame > start.first_frame)
        self._first_frame, self._first_generated = start.first_frame, start.first_generated(runs)
        self._unfinished = [run for run in runs if run.stop_frame > start.first_frame]
        run_frames = [*map(_length, runs)]
        burst_frames = max(map(generator.burst_frames, run_frames), default=1)
        most_pixels = _most_pixels(self._placements)
        self._leading = Leading(
            shown,
            info.path,
            {run: self._placements[run] for run in self._unfinished},
            _depth(burst_frames, 3 * most_pixels, CROPS_BYTES),
            generator.side.pictures,
            watch,
            self._stop,
            {run: start.first_crop_of(run, generator) for run in self._unfinished},
        )
        self._under_way = {run: self._of_run(run, state) for run, state in start.states.items()}
        depth_frames = waiting_frames(burst_frames, most_pixels)
        self._frames = ahead(watch.handed(self._generated(), "wait for room"), depth_frames, stop=self._stop)
        self._waiting: dict[RegionRun, deque[Array]] = {run: deque() for run in runs}
        done = sum(generator.calls(_length(run)) for run in runs if run.stop_frame <= start.first_frame)
        self._calls_done = done + sum(generating.calls for generating in self._under_way.values())
        self._tell, self._told = tell, self._calls_done - 1
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

        `tell(done, total)` hears how many of those of all runs are done, at first of those before this began.
        """
        done = self._calls_done
        while self._calls and self._told < done:
            self._told += 1
            self._tell(self._told, self._calls)

    def _generated(self) -> Generator[dict[RegionRun, Array], None, None]:
        """The generated frames of every frame of the video that lies in a run, from the first one on."""
        runs, under_way = Timetable(self._unfinished), self._under_way
        try:
            for index in _frames_within(self._unfinished, self._first_generated):
                active = runs.at(index)
                for run in active:
                    if run not in under_way:
                        under_way[run] = self._of_run(run)
                made = {run: next(under_way[run]) for run in active}
                for run in active:
                    if run.stop_frame == index + 1:
                        # The engine's caches are as large as a window; they go with the last frame.
                        under_way.pop(run).close()
                self._take_state(index + 1)
                if index >= self._first_frame:
                    yield made
        finally:
            while under_way:
                under_way.popitem()[1].close()

    def _of_run(self, run: RegionRun, state: Stored | None = None) -> UnderWay:
        ordinal = self._runs.index(run)
        return UnderWay(run, ordinal, self._generator, self._leading, self._watch, self._stop, self._called, state)

    def _take_state(self, frame: int) -> None:
        """Hands out the state before a frame that it was asked for."""
        while self._due and self._due[0] < frame:
            self._due.popleft()
        if not (self._due and self._due[0] == frame and self._under_way):
            return
        begun_s = perf_counter()
        if begun_s < self._next_state_s:
            return
        with self._watch.stage("take state"):
            state = self._state.packed(frame, self._under_way)
            if state is not None:
                self._keep_state(frame, state)
        now_s = perf_counter()
        self._next_state_s = now_s + (now_s - begun_s) / STATE_SHARE

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


def _length(run: RegionRun) -> int:
    return run.stop_frame - run.start_frame


def _frames_within(runs: Iterable[RegionRun], first_frame: int) -> Iterator[int]:
    """Indices of the frames from the first one on that lie in a run, in order."""
    following = first_frame
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
