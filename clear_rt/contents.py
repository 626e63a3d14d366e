"""Region runs to their generated content, frame by frame, as the pass that writes asks for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clear_rt import frames
from clear_rt.crops import place
from clear_rt.generate import CropGenerator
from clear_rt.leading import Leading, Shown
from clear_rt.regions import RegionRun
from clear_rt.report import Stopwatch
from clear_rt.shapes import Size

Floats = NDArray[np.float32]


class Contents:
    """The generated content of all runs of one video. Leaving the block ends the pass over the video behind it.

    `shown` are all frames, with their mattes where the generator has drafts. A run's place in `runs` is its ordinal, by
    which its noise is drawn. `tell(done, total)` hears of every call of the model: how many of those of all runs are
    done.
    """

    def __init__(
        self,
        info: frames.VideoInfo,
        shown: Generator[Shown, None, None],
        runs: list[RegionRun],
        generator: CropGenerator,
        depth_frames: int,
        watch: Stopwatch,
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        spec, picture = generator.spec, Size(info.width_px, info.height_px)
        self._placements = {
            run: place(run.box, picture, spec.multiple_px, spec.max_pixels, spec.profiles) for run in runs
        }
        self._leading = Leading(shown, info.path, self._placements, depth_frames, watch)
        self._ordinals = {run: ordinal for ordinal, run in enumerate(runs)}
        self._generator = generator
        self._watch = watch
        self._generated: dict[RegionRun, Iterator[Floats]] = {}
        self._frames_left = {run: run.stop_frame - run.start_frame for run in runs}
        run_frames = list(self._frames_left.values())
        self._tell, self._calls_done, self._calls = tell, 0, sum(map(generator.calls, run_frames))
        self.notes, self.runs_short = generator.notes(run_frames), generator.short_runs(run_frames)
        self.windows = sum(len(generator.plan(total_frames).windows) for total_frames in run_frames)
        self.regions_scaled = sum(placement.is_scaled for placement in self._placements.values())

    def next_of(self, run: RegionRun) -> Floats:
        """RGB float32 [H, W, 3], 0..255, of `run.box`: of the run's first frame first, then of one frame after another.

        Raises what the engine and the decoder raise.
        """
        if run not in self._generated:
            # The first window of a run has to be decoded and encoded before its first call.
            self._tell(self._calls_done, self._calls)
            self._generated[run] = self._generator.crops(
                self._ordinals[run],
                self._leading.crops(run),
                run.stop_frame - run.start_frame,
                self._watch,
                self._called,
            )
        generated = next(self._generated[run])
        self._frames_left[run] -= 1
        if not self._frames_left[run]:
            # The engine's caches are as large as a window; they go with the last frame.
            del self._generated[run]
        return self._placements[run].restore(generated)

    def _called(self) -> None:
        self._calls_done += 1
        self._tell(self._calls_done, self._calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._generated.clear()
        self._leading.close()
