"""`Work`: the hidden folder beside a target in which finished work outlives the process that did it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from clear_rt.errors import ClearError, InputError, OutputError
from clear_rt.frames.atomic import place_of
from clear_rt.frames.failures import reason, remedy
from clear_rt.frames.segments.durable import TORN, sync_folder, whole_file
from clear_rt.frames.segments.files import SegmentFacts, read_facts
from clear_rt.frames.segments.work_key import difference, work_key
from clear_rt.frames.segments.work_lock import WorkLock

_FORMAT = 1
_STATE = "state.json"
_LONGEST_NAME_BYTES = 200
_SEGMENT = re.compile(r"(\d{6})\.segment")
_STORED = re.compile(r"(\d{6}|all)-([a-z0-9_]+)\.stored")


class Work:
    """Context manager. Entered, it holds the folder's lock and what of its content belongs to this very job.

    Left normally or by an InputError the folder vanishes, and by any error of ours where no segment is finished; left
    by any other exception it stays where it holds anything to go on from. `discarded` is a sentence where an earlier
    job's content was of no use. `threads` is how many an encoder may take: some encode differently with another number,
    so it stays what it was when the work began.

    Raises:
        OutputError: another process has the folder, or it cannot be written.
        InputError: the source cannot be read.
    """

    def __init__(self, source: Path, target: Path | str, options: Mapping[str, Any]) -> None:
        self._source = source
        self._options = options
        self._target = Path(os.path.realpath(target))
        place = place_of(self._target)
        name = os.fsdecode(os.fsencode(place.name)[:_LONGEST_NAME_BYTES])
        self.folder = place.with_name(f".{name}.clear_rt-work")
        self.threads = len(os.sched_getaffinity(0))
        self.discarded: str | None = None
        self._segments: list[SegmentFacts] = []

    def __enter__(self) -> Self:
        key = work_key(self._source, self._target, self._options)
        self._lock = WorkLock(self.folder, self._target)
        try:
            self._begin(key)
        except BaseException as error:
            self._leave(keep=not isinstance(error, InputError))
            if isinstance(error, OSError):
                raise OutputError(f"{self.folder} cannot be used: {reason(error)}; {remedy(error)}") from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(keep=kind is not None and self._is_of_use_after(kind))

    def _is_of_use_after(self, kind: type[BaseException]) -> bool:
        """An interrupt is followed by the same command; an error before the first segment by another, mostly."""
        return not issubclass(kind, InputError if self._segments else ClearError)

    @property
    def segments(self) -> tuple[SegmentFacts, ...]:
        """The finished segments that were encoded, in order."""
        return tuple(self._segments)

    def path_of(self, number: int) -> Path:
        """Where the segment lies that has that place among `segments`."""
        return self.folder / f"{number:06}.segment"

    @property
    def result_path(self) -> Path:
        """Where the result may be written before it is whole."""
        return self.folder / f"result{TORN}"

    def next_path(self) -> Path:
        """Where the segment after the finished ones is to be written, with `whole_file`."""
        return self.path_of(len(self._segments))

    def finished_bytes(self) -> int:
        """What the finished segments take on the disk. Raises OSError."""
        return sum(self.path_of(number).stat().st_size for number in range(len(self._segments)))

    def add(self, facts: SegmentFacts) -> None:
        """The segment at `next_path` is finished."""
        self._segments.append(facts)

    def keep(self, count: int, why: str) -> None:
        """Discard all but the first `count` segments, and what is bound to the others, because of `why`."""
        if count < len(self._segments):
            self.discarded = f"{len(self._segments) - count} finished segments were discarded: {why}"
            del self._segments[count:]
            self._sweep()

    def store(self, name: str, data: bytes, segment: int | None = None) -> None:
        """Keep `data` under `name`, which is on the disk when this returns.

        With `segment`, the number of one among those that are encoded, `load` gives it back only where that segment is
        finished: store it before the segment's last frame is written. Raises OutputError.
        """
        path = self.folder / _stored(name, segment)
        try:
            with whole_file(path) as file:
                file.write(data)
        except OSError as error:
            raise OutputError(f"{path} could not be written: {reason(error)}; {remedy(error)}") from error

    def load(self, name: str, segment: int | None = None) -> bytes | None:
        """What was stored, None where there is nothing or its segment was never finished. Raises OutputError."""
        if segment is not None and segment >= len(self._segments):
            return None
        path = self.folder / _stored(name, segment)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{path} cannot be read: {reason(error)}; remove {self.folder}") from error

    def stored(self, name: str) -> list[int]:
        """Segments that something of that name was stored with, in order. Raises OSError."""
        found = (_STORED.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(one[1]) for one in found if one and one[2] == name and one[1] != "all")

    def forget(self, name: str, segment: int) -> None:
        """Remove what was stored with a segment, if anything was. Raises OutputError."""
        path = self.folder / _stored(name, segment)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be removed: {reason(error)}; {remedy(error)}") from error

    def _begin(self, key: dict[str, str]) -> None:
        state = self._state()
        if state is not None and (why := difference(state["key"], key)):
            self.discarded = f"what an earlier run left of {self._target} was discarded: {why}"
            state = None
        if state is None:
            self._empty()
            state = {"format": _FORMAT, "key": key, "threads": self.threads}
            with whole_file(self.folder / _STATE) as file:
                file.write(json.dumps(state, indent=1).encode())
        self.threads = state["threads"]
        while (facts := read_facts(self.next_path())) is not None:
            self._segments.append(facts)
        self._sweep()

    def _state(self) -> dict[str, Any] | None:
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            state: dict[str, Any] = json.loads((self.folder / _STATE).read_bytes())
            if state["format"] == _FORMAT and isinstance(state["threads"], int) and isinstance(state["key"], dict):
                return state
        return None

    def _sweep(self) -> None:
        """Remove what was torn, and what no finished segment stands behind.

        The last segments go first, then what is bound to them: a finished segment never lacks that, whenever this ends.
        """
        names = sorted((path.name for path in self.folder.iterdir()), reverse=True)
        for name in sorted(names, key=lambda name: _SEGMENT.fullmatch(name) is None):
            path = self.folder / name
            found = _SEGMENT.fullmatch(path.name) or _STORED.fullmatch(path.name)
            late = found is not None and found[1] != "all" and int(found[1]) >= len(self._segments)
            if path.name.endswith(TORN) or late:
                _remove(path)

    def _empty(self) -> None:
        """Remove all content; without the state the rest is nobody's, so that goes first."""
        (self.folder / _STATE).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name.endswith(TORN) or _SEGMENT.fullmatch(path.name) or _STORED.fullmatch(path.name):
                _remove(path)

    def _holds_anything(self) -> bool:
        return bool(self._segments) or any(_STORED.fullmatch(path.name) for path in self.folder.iterdir())

    def _leave(self, *, keep: bool) -> None:
        """Never raises because of the folder: what cannot be removed is in nobody's way."""
        with suppress(OSError):
            if not (keep and self._holds_anything()):
                self._empty()
                shutil.rmtree(self.folder)
                sync_folder(self.folder.parent)
        self._lock.release()


def _remove(path: Path) -> None:
    """A file, or the numbered pictures of a result that was not whole."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _stored(name: str, segment: int | None) -> str:
    file_name = f"{'all' if segment is None else f'{segment:06}'}-{name}.stored"
    if not _STORED.fullmatch(file_name):
        raise ValueError(f"expected a name of a-z, 0-9 and _ and a segment from 0 to 999999, got {name!r}, {segment}")
    return file_name
