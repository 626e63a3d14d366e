"""Stages that overlap: work ahead of who takes it, or behind who gives it, on other threads with bounded queues."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

S = TypeVar("S")
T = TypeVar("T")

# How soon who waits looks up again: for `Stop`, and to tell how far others have come.
_POLL_S = 0.1
# A thread that has not begun by then never will: an interrupt came between two instructions of its start.
_START_S = 10.0
# Of what numpy leaves to a thread, a core does a frame of 720p in 20 ms: three are enough for 100 frames per second.
_MOST_WORKERS = 3
_CORES_PER_WORKER = 4


class Stopped(Exception):
    """What a thread waits for will not come, as its stages were told to stop: nobody wants their results any more."""


class Stop(threading.Event):
    """Ends all stages that share it, also those that wait for each other; leaving its block sets it."""

    def check(self) -> None:
        """Raises Stopped once it is set: for long work between two items."""
        if self.is_set():
            raise Stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.set()


def spare_workers() -> int:
    """Threads among which it pays to divide a stage, where engine, decoder and encoder want most of the cores."""
    return max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) // _CORES_PER_WORKER))


def ahead(
    items: Iterable[T], depth: int, *, stop: Stop | None = None, idle: Callable[[], None] = lambda: None
) -> Generator[T, None, None]:
    """The same items, made on a thread of their own: `spread` over one."""
    return spread(_same, items, depth, stop=stop, idle=idle)


def spread(
    function: Callable[[S], T],
    items: Iterable[S],
    depth: int,
    workers: int = 1,
    *,
    stop: Stop | None = None,
    idle: Callable[[], None] = lambda: None,
) -> Generator[T, None, None]:
    """`function` of every item, in order, computed on threads that take the next item in turn.

    At most `depth` results wait or are being made. Errors of items and function arrive in their place. Who waits for a
    result calls `idle` at least every 0.1 s, and gets Stopped after `stop`; an error of `idle`, or an interrupt, sets
    it. Threads start with the first result that is asked for; close the generator (`contextlib.closing`) to end them
    early.
    """
    stop = stop or Stop()
    line = _Line(function, items, depth, stop)
    started: list[_Worker] = []
    try:
        for _ in range(min(workers, depth)):
            # Listed first: an interrupt may hit the start when the thread has begun already.
            started.append(worker := _Worker(line.work, "clear_rt-ahead"))
            worker.start()
        while not isinstance(made := line.take(idle), _End):
            yield made
        made.throw()
    except KeyboardInterrupt:
        # Before the threads are waited for, some of which wait for others.
        stop.set()
        raise
    finally:
        try:
            line.end()
        finally:
            _outlive(started)


def _same(item: T) -> T:
    return item


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


class _Line(Generic[S, T]):
    """Results between the threads that make them and the one that takes them, by the place of their items."""

    def __init__(self, function: Callable[[S], T], items: Iterable[S], depth: int, stop: Stop) -> None:
        self._function, self._items, self._depth, self._stop = function, items, depth, stop
        self._iterator = iter(items)
        self._pulling = threading.Lock()
        self._changed = threading.Condition()
        self._made: dict[int, T | _End] = {}
        self._pulled = self._taken = 0
        self._over = False

    def work(self) -> None:
        """What each thread does, until there is nothing more to do for any of them."""
        try:
            while self._step():
                pass
        finally:
            self._finish()

    def take(self, idle: Callable[[], None]) -> T | _End:
        """The next result or the end; Stopped after `stop`, which an error of `idle` sets."""
        while (made := self._ready()) is None:
            try:
                idle()
            except BaseException:
                self._stop.set()
                raise
        return made.pop()

    def _ready(self) -> list[T | _End] | None:
        """The next result, alone in a list; None where it is not there yet."""
        self._stop.check()
        with self._changed:
            if self._taken not in self._made:
                self._changed.wait(_POLL_S)
            if self._taken not in self._made:
                return None
            made = [self._made.pop(self._taken)]
            self._taken += 1
            self._changed.notify_all()
            return made

    def end(self) -> None:
        """Nobody takes results any more."""
        self._over = True
        with self._changed:
            self._made.clear()
            self._changed.notify_all()

    def _step(self) -> bool:
        with self._pulling:
            if not self._has_room():
                return False
            place, self._pulled = self._pulled, self._pulled + 1
            try:
                item = next(self._iterator)
            except StopIteration:
                self._over = True
                return self._put(place, _End())
            except BaseException as error:  # noqa: BLE001 - handed over whole, whatever it is
                self._over = True
                return self._put(place, _End(error))
        try:
            return self._put(place, self._function(item))
        except BaseException as error:  # noqa: BLE001 - handed over whole, whatever it is
            return self._put(place, _End(error))

    def _has_room(self) -> bool:
        """Waits for it; False where there is nothing more to do."""
        with self._changed:
            while self._pulled - self._taken >= self._depth and not (self._over or self._stop.is_set()):
                self._changed.wait(_POLL_S)
            return not (self._over or self._stop.is_set())

    def _put(self, place: int, made: T | _End) -> bool:
        """False where this was the last that its thread makes."""
        with self._changed:
            self._made[place] = made
            self._changed.notify_all()
        return not isinstance(made, _End)

    def _finish(self) -> None:
        """One thread that ends ends all: it has met the end, an error or the end of the demand."""
        with self._pulling:
            self._over = True
            if isinstance(self._items, Generator):
                self._items.close()


class _Worker:
    """A thread that is known to have ended.

    `Thread.join` cannot be trusted with that: CPython 3.11 takes a thread for ended when an interrupt hits the join.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._begun, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)

    def _run(self, work: Callable[[], None]) -> None:
        self._begun.set()
        try:
            work()
        finally:
            self._ended.set()

    def start(self) -> None:
        self._thread.start()

    def outlive(self) -> None:
        """Wait until the work has ended; interrupted, call it again."""
        if self._begun.wait(_START_S):
            self._ended.wait()
            self._thread.join()


def _outlive(workers: Iterable[_Worker]) -> None:
    """Wait until all work has ended, whatever interrupts the waiting; an interrupt is raised afterwards."""
    interrupt: BaseException | None = None
    for worker in workers:
        waits = True
        while waits:
            try:
                worker.outlive()
                waits = False
            except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt most of all
                interrupt = error
    if interrupt is not None:
        raise interrupt


class Behind(Generic[T]):
    """Calls `consume(item)` on a thread of its own; an error there is raised by the next `put` or at the end.

    Where the block is left by an exception, what still waits is dropped. The thread has ended when the block is left,
    so what it works on may be closed then.
    """

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._waiting: SimpleQueue[T | _End] = SimpleQueue()
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
        try:
            self._worker.start()
        except BaseException:
            self._waiting.put(_End())
            _outlive([self._worker])
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stopped.set()
        self._waiting.put(_End())
        try:
            _outlive([self._worker])
        finally:
            if kind is None:
                self._end.throw()
