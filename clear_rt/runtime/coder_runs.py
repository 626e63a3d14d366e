"""Streamed coders for runs that may be under way at once: each run has one of its own while it lasts."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np

from clear_rt.restart import Host
from clear_rt.runtime.engine import Caches
from clear_rt.states import StateError, integers

# An array of any library on the GPU.
A = TypeVar("A", bound=Any)
# Takes the next frames or the next latent of a run, and whether the run begins with it.
Coder = Callable[[A, bool], A]
Size = tuple[int, int, int]
# Coders without a run that are kept for the next one of their size. One for 1280x192 holds 1 GB.
MOST_FREE = 2


class CoderRuns(Generic[A]):
    """Calls coders on arrays [C, T, H, W]. What it answers with for caches stands for the run, and keeps its coder.

    A coder whose run is forgotten serves the next one of the same size, unless `MOST_FREE` others have become free
    since. `make` is told the size [C, H, W].
    """

    def __init__(self, make: Callable[[Size], Coder[A]]) -> None:
        self._make = make
        self._free: list[tuple[Size, Coder[A]]] = []
        # A run may be forgotten on any thread, also by the collector in the middle of what is done here.
        self._returned: deque[tuple[Size, Coder[A]]] = deque()
        self._tidying = Lock()

    def __call__(self, x: A, caches: Caches | None) -> tuple[A, Caches]:
        """x of any float, on the device -> an array of its own in the coder's type."""
        run = self._begun((x.shape[0], x.shape[2], x.shape[3])) if caches is None else caches[0]
        return run.coder(x, caches is None), (run,)

    def _begun(self, size: Size) -> _Run[A]:
        with self._tidying:
            self._tidy()
            place = next((i for i, (free, _) in enumerate(self._free) if free == size), None)
            found = None if place is None else self._free.pop(place)[1]
        coder = self._make(size) if found is None else found
        run = _Run(coder)
        weakref.finalize(run, self._freed, size, coder)
        return run

    def _freed(self, size: Size, coder: Coder[A]) -> None:
        self._returned.append((size, coder))
        if self._tidying.acquire(blocking=False):
            try:
                self._tidy()
            finally:
                self._tidying.release()

    def _tidy(self) -> None:
        while self._returned:
            self._free.append(self._returned.popleft())
        del self._free[:-MOST_FREE]


class KeptCoderRuns(CoderRuns[A]):
    """As `CoderRuns`, of coders that can be taken out and put back: they have `size`, `kept` and `fill`."""

    def saved(self, caches: Caches) -> Iterator[Host]:
        """The size that the coder was made for, and what it keeps."""
        coder = caches[0].coder
        yield integers(*coder.size)
        yield from coder.kept()

    def restored(self, arrays: Sequence[Host]) -> Caches:
        """A coder that goes on where the one that was `saved` was. Raises StateError."""
        if not arrays or arrays[0].shape != (3,) or arrays[0].dtype != np.int64 or not (arrays[0] > 0).all():
            raise StateError("expected the size of a coder, and what it keeps; the state is of another engine")
        channels, height, width = map(int, arrays[0])
        run = self._begun((channels, height, width))
        coder: Any = run.coder
        coder.fill(arrays[1:])
        return (run,)


class _Run(Generic[A]):
    """What stands for a run outside; once it is gone, its coder is free."""

    def __init__(self, coder: Coder[A]) -> None:
        self.coder = coder
