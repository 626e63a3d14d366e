"""Where an interrupted removal goes on, and what it leaves for that: states of the model, and how much was changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clear_rt.contents_state import under_way_at
from clear_rt.errors import OutputError
from clear_rt.frames import SegmentedWriter, Work
from clear_rt.regions import RegionRun

# In the folder of an interrupted run, for every segment.
_MODEL, _CHANGED = "model", "changed"


class Resuming:
    """Of one video of so many frames, whose writer was entered."""

    def __init__(self, work: Work, writer: SegmentedWriter, total_frames: int) -> None:
        encoded = [segment for segment in writer.plan.until(total_frames) if not segment.copied]
        self._numbers = {segment.stop_frame: number for number, segment in enumerate(encoded)}
        self._work, self._finished_frames = work, writer.finished_frames
        self._stored = work.stored(_MODEL)
        self._keeps_states = True

    @property
    def state_frames(self) -> Sequence[int]:
        """Before which frames the state of the model is wanted: where encoded segments end."""
        return sorted(self._numbers)

    def starts(self, runs: Sequence[RegionRun]) -> Iterator[tuple[int, bytes | None]]:
        """First frames and the model's states before them, best first; frames before are finished in all of them.

        Without a state, runs that are under way there have to be generated once more from their first frame on.
        """
        ends = [segment.stop_frame for segment in self._work.segments]
        for number, frame in reversed(list(enumerate([*ends[:-1], self._finished_frames] if ends else []))):
            if not under_way_at(runs, frame):
                yield frame, None
                return
            state = self._work.load(_MODEL, number)
            if state is not None:
                yield frame, state
        yield self._finished_frames, None

    def keep_state(self, frame: int, state: bytes) -> None:
        """The model's state before a frame; on the engine's thread. A disk without room for it costs the states."""
        if not self._keeps_states:
            return
        number = self._numbers[frame]
        try:
            self._work.store(_MODEL, state, number)
        except OutputError:
            self._keeps_states = False
            return
        # A state is of use once its segment is finished: until then an older one is.
        self._stored.append(number)
        usable = [one for one in self._stored if one < len(self._work.segments)]
        for old in usable[:-1]:
            self._work.forget(_MODEL, old)
            self._stored.remove(old)

    def ends_at(self, frame: int) -> bool:
        """Whether frame index `frame` is the last one of an encoded segment."""
        return frame + 1 in self._numbers

    def keep_changed(self, frame: int, count: int) -> None:
        """How many frames up to the last one of a segment were changed. Raises OutputError."""
        self._work.store(_CHANGED, str(count).encode(), self._numbers[frame + 1])

    def changed_before(self, frame: int) -> int:
        """How many frames before this one were changed, where that is where one of `starts` begins."""
        numbers = [number for number, segment in enumerate(self._work.segments) if segment.stop_frame <= frame]
        stored = self._work.load(_CHANGED, numbers[-1]) if numbers else None
        return int(stored) if stored and stored.isdigit() else 0
