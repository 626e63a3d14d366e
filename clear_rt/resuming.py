"""Where an interrupted removal goes on, and what it leaves for that.

For every segment, what was known of the picture behind text at its end, the model's state, and how much was changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from clear_rt.contents_state import under_way_at
from clear_rt.errors import OutputError
from clear_rt.frames import SegmentedWriter, Work
from clear_rt.propagating import packed_known
from clear_rt.propagation import Known
from clear_rt.regions import RegionRun
from clear_rt.veils.following import Veils

# In the folder of an interrupted run, for every segment.
_MODEL, _KNOWN, _VEILS, _CHANGED = "model", "known", "veils", "changed"


class Start(NamedTuple):
    """A frame to begin with, the model's state before it, and what is known of its veils and behind its text.

    None where there is none.
    """

    frame: int
    model: bytes | None = None
    known: bytes | None = None
    veils: bytes | None = None


FROM_THE_FIRST = Start(0)


class Resuming:
    """Of one video of so many frames, whose writer was entered."""

    def __init__(self, work: Work, writer: SegmentedWriter, total_frames: int) -> None:
        encoded = [segment for segment in writer.plan.until(total_frames) if not segment.copied]
        self._numbers = {segment.stop_frame: number for number, segment in enumerate(encoded)}
        self._work, self._finished_frames = work, writer.finished_frames
        self._stored = {name: work.stored(name) for name in (_MODEL, _KNOWN, _VEILS)}
        self._keeps_states = True

    @property
    def state_frames(self) -> Sequence[int]:
        """Before which frames states are wanted: where encoded segments end."""
        return sorted(self._numbers)

    def starts(self, runs: Sequence[RegionRun], *, generates: bool, propagates: bool, lifts: bool) -> Iterator[Start]:
        """Where to begin, best first; frames before are finished in all of them.

        Without the model's state, runs that are under way there have to be generated once more from their first frame
        on. Without what was known of veils and behind text nothing can begin within a run.
        """
        ends = [segment.stop_frame for segment in self._work.segments]
        newest: Start | None = None
        for number, frame in reversed(list(enumerate([*ends[:-1], self._finished_frames]))):
            goes_on = generates and bool(under_way_at(runs, frame))
            hides = _is_within(runs, frame)
            known = self._work.load(_KNOWN, number) if hides and propagates else None
            veils = self._work.load(_VEILS, number) if hides and lifts else None
            model = self._work.load(_MODEL, number) if goes_on else None
            if hides and ((propagates and known is None) or (lifts and veils is None)):
                continue
            if goes_on and model is None:
                newest = newest or Start(frame, None, known, veils)
                continue
            yield Start(frame, model, known, veils)
            if not (goes_on or (hides and (propagates or lifts))):
                return
        yield from [newest] if newest else []
        yield FROM_THE_FIRST

    def keep_state(self, frame: int, state: bytes) -> None:
        """The model's state before a frame; on the engine's thread."""
        self._keep(_MODEL, frame, state)

    def keep_known(self, runs: Sequence[RegionRun], frame: int, before: Known) -> None:
        """What the frame before this one tells, where it is wanted; on the thread of the writing pass's end."""
        if self._is_wanted(runs, frame):
            self._keep(_KNOWN, frame, packed_known(frame, before))

    def keep_veils(self, runs: Sequence[RegionRun], frame: int, veils: Veils) -> None:
        """The veils of the frame before this one, where they are wanted; on the thread that hands out edits."""
        if self._is_wanted(runs, frame):
            self._keep(_VEILS, frame, veils.state())

    def _is_wanted(self, runs: Sequence[RegionRun], frame: int) -> bool:
        return frame in self._numbers and _is_within(runs, frame)

    def _keep(self, name: str, frame: int, state: bytes) -> None:
        """A disk without room for it costs the states."""
        if not self._keeps_states:
            return
        number = self._numbers[frame]
        try:
            self._work.store(name, state, number)
        except OutputError:
            self._keeps_states = False
            return
        # A state is of use once its segment is finished: until then an older one is. The model's, which is not taken at
        # the end of every segment, is of no use without what is known there.
        stored = self._stored[name]
        stored.append(number)
        usable = [one for one in stored if one < len(self._work.segments)]
        for old in usable[:-1]:
            if name == _MODEL or old not in self._stored[_MODEL]:
                self._work.forget(name, old)
                stored.remove(old)

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


def _is_within(runs: Sequence[RegionRun], frame: int) -> bool:
    """Whether a frame and the one before it lie in the same run, or in two that follow one another."""
    return any(run.start_frame <= frame < run.stop_frame for run in runs)
