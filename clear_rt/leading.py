"""The leading pass over a video: crops of its region runs, cut ahead of the pass that writes.

A window is denoised from more frames than the writing pass holds, so the video is decoded once more, ahead of it, and
of its frames only the crops stay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clear_rt.crops import Placement
from clear_rt.draft import draft
from clear_rt.errors import InputError
from clear_rt.frames import Frame
from clear_rt.regions import RegionRun, Timetable
from clear_rt.report import Stopwatch
from clear_rt.shapes import Size
from clear_rt.threads import ahead

UInt8 = NDArray[np.uint8]
# A frame, and the matte of its working picture where drafts are made.
Shown = tuple[Frame, UInt8 | None]


class Leading:
    """One pass that feeds all runs: who asks for crops drives it, and crops of other runs wait in a queue of their own.

    No more wait than the furthest run has looked ahead. Decoding runs on a thread of its own, at most `depth_frames`
    ahead of that; `close` ends it.
    """

    def __init__(
        self,
        frames: Generator[Shown, None, None],
        path: Path,
        placements: Mapping[RegionRun, Placement],
        depth_frames: int,
        watch: Stopwatch,
    ) -> None:
        self._path = path
        self._placements = placements
        self._watch = watch
        self._waiting: dict[RegionRun, deque[UInt8]] = {run: deque() for run in placements}
        self._cuts = ahead(watch.each(self._cut(frames), "lead: decode"), depth_frames)

    def crops(self, run: RegionRun) -> Iterator[UInt8]:
        """The crops of a run, uint8 [H, W, 3] of its placement's profile, from its first frame to its last.

        Their drafts where the frames come with mattes.

        Raises InputError where the video ends early, and what reading it raises.
        """
        waiting = self._waiting[run]
        for index in range(run.start_frame, run.stop_frame):
            while not waiting:
                self._advance(run, index)
            yield waiting.popleft()

    @property
    def waiting_crops(self) -> int:
        """Crops that were cut while others were asked for."""
        return sum(map(len, self._waiting.values()))

    def close(self) -> None:
        """Ends the thread and closes the decoder."""
        self._cuts.close()

    def _advance(self, run: RegionRun, index: int) -> None:
        with self._watch.stage("wait for crops"):
            cut = next(self._cuts, None)
        if cut is None:
            raise InputError(
                f"{self._path} now ends before frame {index}, and had {run.stop_frame} frames or more before; "
                "it was changed while it was being read: start again"
            )
        for owner, crop in cut.items():
            self._waiting[owner].append(crop)

    def _cut(self, frames: Generator[Shown, None, None]) -> Generator[dict[RegionRun, UInt8], None, None]:
        """The crops of all frames that lie in a run; reading ends with the last run."""
        runs = sorted(self._placements)
        table, stop = Timetable(runs), max((run.stop_frame for run in runs), default=0)
        with closing(frames):
            for frame, matte in frames:
                if frame.index >= stop:
                    return
                if active := table.at(frame.index):
                    yield self._crops_of(frame, matte, active)

    def _crops_of(self, frame: Frame, matte: UInt8 | None, active: tuple[RegionRun, ...]) -> dict[RegionRun, UInt8]:
        pictures: dict[Size, UInt8] = {}
        crops: dict[RegionRun, UInt8] = {}
        for run in active:
            placement = self._placements[run]
            size = placement.scaled
            if size not in pictures:
                pictures[size] = frame.rgb(size.height_px, size.width_px, exact=True)
            crop = placement.cut(pictures[size])
            crops[run] = crop if matte is None else draft(crop, placement.cut_alpha(matte))
        return crops
