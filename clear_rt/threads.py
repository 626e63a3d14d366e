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
        self._error = error

    def throw(self) -> None:
        """Raise the error, once, and let go of it: its traceback holds the frames of the thread that failed."""
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error


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
        finally:
            if isinstance(items, Generator):
                items.close()

    worker = _Worker(produce, "clear_rt-ahead")
    worker.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        item.throw()
    finally:
        stopped.set()
        worker.outlive()


class _Worker:
    """A thread that is known to have ended.

    `Thread.join` cannot be trusted with that: CPython 3.11 takes a thread for ended when an interrupt hits the join.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._ended.set()

    def start(self) -> None:
        self._thread.start()

    def outlive(self) -> None:
        """Wait until the work has ended, whatever interrupts the waiting; an interrupt is raised afterwards."""
        interrupt: BaseException | None = None
        while not self._ended.is_set():
            try:
                self._ended.wait()
            except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt most of all
                interrupt = error
        self._thread.join()
        if interrupt is not None:
            raise interrupt


class Behind(Generic[T]):
    """Calls `consume(item)` on a thread of its own; an error there is raised by the next `put` or at the end.

    Where the block is left by an exception, what still waits is dropped. The thread has ended when the block is left,
    so what it works on may be closed then.
    """

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._waiting: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._room = threading.Semaphore(depth)
        self._stopped = threading.Event()
        self._end = _End()
        self._worker = _Worker(lambda: self._run(consume), "clear_rt-behind")

    def _run(self, consume: Callable[[T], None]) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if not self._stopped.is_set():
                try:
                    consume(item)
                except BaseException as error:  # noqa: BLE001 - handed over whole, whatever it is
                    self._end = _End(error)
                    self._stopped.set()
            self._room.release()

    def put(self, item: T) -> None:
        self._room.acquire()
        if self._stopped.is_set():
            self._end.throw()
        self._waiting.put(item)

    def __enter__(self) -> Behind[T]:
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stopped.set()
        self._waiting.put(_End())
        try:
            self._worker.outlive()
        finally:
            if kind is None:
                self._end.throw()
