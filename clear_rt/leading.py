"""The leading pass over a video: crops of its region runs, cut ahead of the pass that writes.

A window is denoised from more frames than the writing pass holds, so the video is decoded once more, ahead of it, and
of its frames only the crops stay.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_rt.crops import Placement
from clear_rt.errors import InputError
from clear_rt.frames import Frame
from clear_rt.pictures import Crop, Pictures
from clear_rt.regions import RegionRun, Timetable
from clear_rt.report import Stopwatch
from clear_rt.threads import Stop, spare_workers, spread

UInt8 = NDArray[np.uint8]
# A frame, and its matte where drafts are made.
Shown = tuple[Frame, UInt8 | None]


class _Cutting(NamedTuple):
    """A frame to be cut, the matte for its drafts, and the runs it lies in."""

    frame: Frame
    matte: UInt8 | None
    active: tuple[RegionRun, ...]


class Leading:
    """One pass that feeds all runs: who asks for crops drives it, and crops of other runs wait in a queue of their own.

    Each run may be read on a thread of its own. No more crops wait than the furthest run has looked ahead. Decoding and
    cutting run on other threads, at most `depth_frames` ahead of that; `stop` and `close` end them. `first_crops` are
    frames, of runs that are begun later than with their first one; nothing is cut before.
    """

    def __init__(
        self,
        frames: Generator[Shown, None, None],
        path: Path,
        placements: Mapping[RegionRun, Placement],
        depth_frames: int,
        pictures: Pictures,
        watch: Stopwatch,
        stop: Stop | None = None,
        first_crops: Mapping[RegionRun, int] | None = None,
    ) -> None:
        self._path = path
        self._placements, self._pictures = placements, pictures
        self._first = {run: run.start_frame for run in placements} | dict(first_crops or {})
        self._waiting: dict[RegionRun, deque[Crop]] = {run: deque() for run in placements}
        cut = watch.timed(self._crops_of, "lead: crop")
        self._cuts = spread(cut, self._within_runs(frames), depth_frames, spare_workers(), stop=stop)
        self._reading = threading.Lock()
        self._failed: BaseException | None = None

    def crops(self, run: RegionRun) -> Iterator[Crop]:
        """The crops of a run as `pictures` cut them, from its first frame, or the one of `first_crops`, to its last.

        Their drafts where the frames come with mattes.

        Raises InputError where the video ends early, and what reading it raises.
        """
        waiting = self._waiting[run]
        for index in range(self._first[run], run.stop_frame):
            while not waiting:
                with self._reading:
                    # Another run may have read on while this one waited for the lock.
                    if not waiting:
                        self._read_on(run, index)
            yield waiting.popleft()

    @property
    def waiting_crops(self) -> int:
        """Crops that were cut while others were asked for."""
        return sum(map(len, self._waiting.values()))

    def close(self) -> None:
        """Ends the threads and closes the decoder; nobody may be reading crops."""
        self._cuts.close()
        self._failed = None

    def _read_on(self, run: RegionRun, index: int) -> None:
        if self._failed is not None:
            # What went wrong reaches every run, not only the one that read on.
            raise self._failed
        try:
            cut = next(self._cuts, None)
        except BaseException as error:
            self._failed = error
            raise
        if cut is None:
            raise InputError(
                f"{self._path} now ends before frame {index}, and had {run.stop_frame} frames or more before; "
                "it was changed while it was being read: start again"
            )
        for owner, crop in cut.items():
            self._waiting[owner].append(crop)

    def _within_runs(self, frames: Generator[Shown, None, None]) -> Generator[_Cutting, None, None]:
        """The frames that lie in a run; reading ends with the last run."""
        runs = sorted(self._placements)
        table, stop = Timetable(runs), max((run.stop_frame for run in runs), default=0)
        with closing(frames):
            for frame, matte in frames:
                if frame.index >= stop:
                    return
                if active := tuple(run for run in table.at(frame.index) if frame.index >= self._first[run]):
                    yield _Cutting(frame, matte, active)

    def _crops_of(self, cutting: _Cutting) -> dict[RegionRun, Crop]:
        placements = {run: self._placements[run] for run in cutting.active}
        return self._pictures.cut(cutting.frame, cutting.matte, placements)
