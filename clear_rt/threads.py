"""Stages that overlap: reading ahead and writing behind, each on one thread with a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    """Ends a queue; carries the error that ended it, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The same items, made on a thread of their own, at most `depth` of them waiting; errors arrive in their place.

    Close the generator (`contextlib.closing`) to end the thread early.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: T | _End) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - handed over whole, whatever it is
            put(_End(error))
        else:
            put(_End())

    thread = threading.Thread(target=produce, name="clear_rt-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()


class Behind(Generic[T]):
    """Calls `consume(item)` on a thread of its own; an error there is raised by the next `put` or at the end."""

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._waiting: queue.Queue[T | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(consume,), name="clear_rt-behind", daemon=True)

    def _run(self, consume: Callable[[T], None]) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if self._error is None:
                try:
                    consume(item)
                except BaseException as error:  # noqa: BLE001 - handed over whole, whatever it is
                    self._error = error

    def put(self, item: T) -> None:
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def __enter__(self) -> Behind[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._error = error
        self._waiting.put(_End())
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error
