"""Threads that overlap stages: order, bounds, errors on either side, and no thread left behind."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from contextlib import closing, suppress

import pytest

from clear_rt.threads import Behind, ahead


def _mine() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("clear_rt")]


def test_ahead_keeps_order_and_ends():
    assert list(ahead(range(1000), 3)) == list(range(1000))
    assert not _mine()


def test_ahead_runs_at_most_depth_items_ahead():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    with closing(ahead(items(), 4)) as got:
        for i in got:
            assert len(made) <= i + 1 + 4 + 1  # one in hand, four in the queue, one waiting to be put


def test_ahead_hands_over_the_error_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("broken")

    got = []
    with pytest.raises(ValueError, match="broken"):
        got.extend(ahead(items(), 2))
    assert not _mine()


def test_leaving_ahead_early_ends_its_thread():
    with closing(ahead(iter(int, 1), 2)) as got:
        next(got)
    assert not _mine()


def test_behind_consumes_everything_in_order():
    seen = []
    with Behind(seen.append, 2) as behind:
        for i in range(500):
            behind.put(i)
    assert seen == list(range(500))
    assert not _mine()


def test_behind_raises_the_consumers_error():
    def fail(item):
        raise OSError(f"no room for {item}")

    def feed():
        with Behind(fail, 2) as behind:
            for i in range(50):
                behind.put(i)

    with pytest.raises(OSError, match="no room for 0"):
        feed()
    assert not _mine()


def test_behind_keeps_the_producers_error_and_stops_consuming():
    release, seen = threading.Event(), []

    def consume(item):
        release.wait()
        seen.append(item)

    def feed():
        with Behind(consume, 8) as behind:
            for i in range(5):
                behind.put(i)
            threading.Timer(0.05, release.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feed()
    assert len(seen) <= 1
    assert not _mine()


def test_an_interrupt_while_the_thread_is_waited_for_is_raised_after_it_ended():
    """SIGINT arrives while `Behind` is left and its thread still works on an item."""
    begun, release, seen = threading.Event(), threading.Event(), []

    def consume(item):
        begun.set()
        release.wait()
        seen.append(item)

    def interrupt():
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        release.set()

    def feed():
        with Behind(consume, 4) as behind:
            behind.put(1)
            threading.Thread(target=interrupt).start()

    with pytest.raises(KeyboardInterrupt):
        feed()
    assert not _mine()
    assert seen == [1]


def test_an_error_is_raised_once_and_let_go():
    """The error must not keep the frames of the thread that failed alive until the garbage collector runs."""
    gc.collect()
    gc.disable()
    try:
        mine = Kept()
        watch = weakref.ref(mine)

        def items(kept):
            yield 1
            raise ValueError(str(kept)[:1])

        with suppress(ValueError), closing(ahead(items(mine), 2)) as got:
            for _ in got:
                pass
        del got, mine, items
        assert watch() is None
    finally:
        gc.enable()


class Kept:
    pass
