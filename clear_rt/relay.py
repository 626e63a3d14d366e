"""What two passes over a video both need, and only one of them works out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Relay(Generic[T]):
    """Results by frame, for two passes on threads of their own that each ask for every frame once.

    Who comes first computes, the other takes over and may have to wait for that. What both have is not kept, so that as
    much is held as one pass is ahead of the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[T]] = {}

    def of(self, index: int, compute: Callable[[], T]) -> T:
        """The result of a frame. Raises what computing it raises, in both passes."""
        with self._lock:
            theirs = self._waiting.pop(index, None)
            mine = Future[T]()
            if theirs is None:
                self._waiting[index] = mine
        if theirs is not None:
            return theirs.result()
        try:
            mine.set_result(compute())
        except BaseException as error:
            mine.set_exception(error)
            raise
        return mine.result()

    def __len__(self) -> int:
        return len(self._waiting)
