"""What one pass over a video has worked out, for another that comes behind it."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Relay(Generic[T]):
    """Results by frame. Put in order by the pass ahead, taken in order by the one behind, each on a thread of its own.

    What the pass behind has passed is not kept, so that as much is held as the one is ahead of the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, T] = {}
        self._next = 0

    def put(self, index: int, result: T) -> None:
        with self._lock:
            if index >= self._next:
                self._waiting[index] = result

    def take(self, index: int) -> T | None:
        """The result of a frame, None where the other pass is not there yet; later frames only after that."""
        with self._lock:
            self._next = index + 1
            found = self._waiting.pop(index, None)
            while (first := next(iter(self._waiting), self._next)) < self._next:
                del self._waiting[first]
            return found

    def __len__(self) -> int:
        return len(self._waiting)
