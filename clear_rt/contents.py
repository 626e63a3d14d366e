"""Region runs to their generated content, frame by frame, as the pass that writes asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clear_rt import frames
from clear_rt.crops import place
from clear_rt.generate import CropGenerator
from clear_rt.leading import Leading
from clear_rt.regions import RegionRun
from clear_rt.report import Stopwatch
from clear_rt.shapes import Size

UInt8 = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Contents:
    """The generated content of all runs of one video. Leaving the block ends the pass over the video behind it.

    A run's place in `runs` is its ordinal, by which its noise is drawn. `tell(done, total)` hears how many of the runs'
    frames the generator has taken in.
    """

    def __init__(
        self,
        info: frames.VideoInfo,
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
        self._leading = Leading(frames.read(info), info.path, self._placements, depth_frames, watch)
        self._ordinals = {run: ordinal for ordinal, run in enumerate(runs)}
        self._generator = generator
        self._watch = watch
        self._generated: dict[RegionRun, Iterator[Floats]] = {}
        self._frames_left = {run: run.stop_frame - run.start_frame for run in runs}
        self._tell, self._frames_given, self._frames = tell, 0, sum(self._frames_left.values())
        self.notes = generator.notes([run.stop_frame - run.start_frame for run in runs])
        self.windows = sum(len(generator.plan(run.stop_frame - run.start_frame).windows) for run in runs)
        self.regions_scaled = sum(placement.is_scaled for placement in self._placements.values())

    def next_of(self, run: RegionRun) -> Floats:
        """RGB float32 [H, W, 3], 0..255, of `run.box`: of the run's first frame first, then of one frame after another.

        Raises what the engine and the decoder raise.
        """
        if run not in self._generated:
            total_frames = run.stop_frame - run.start_frame
            crops = self._counted(self._leading.crops(run))
            self._generated[run] = self._generator.crops(self._ordinals[run], crops, total_frames, self._watch)
        generated = next(self._generated[run])
        self._frames_left[run] -= 1
        if not self._frames_left[run]:
            # The engine's caches are as large as a window; they go with the last frame.
            del self._generated[run]
        return self._placements[run].restore(generated)

    def _counted(self, crops: Iterator[UInt8]) -> Iterator[UInt8]:
        """The same crops, told of: minutes may pass before the first window gives a frame."""
        for crop in crops:
            yield crop
            self._frames_given += 1
            self._tell(self._frames_given, self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._generated.clear()
        self._leading.close()
