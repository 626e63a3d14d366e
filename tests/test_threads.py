"""Threads that overlap stages: order, bounds, errors on either side, and no thread left behind."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from contextlib import closing, suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.threads import Behind, Stop, Stopped, ahead, spread


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


def test_spread_gives_results_in_the_order_of_their_items_though_made_in_another():
    """Of three that are made at once the last is ready first."""
    ready = [threading.Event() for _ in range(31)]

    def backwards(i):
        if i % 3 < 2:
            ready[i + 1].wait()
        ready[i].set()
        return -i

    assert list(spread(backwards, range(30), 3, 3)) == [-i for i in range(30)]
    assert not _mine()


def _spin(rng):
    for _ in range(rng.integers(0, 3000)):
        pass


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(1, 6), st.integers(1, 4), st.integers(0, 60), st.booleans(), st.integers(0, 99))
def test_spread_is_bounded_and_errors_arrive_in_their_place(count, depth, workers, fail_at, in_function, seed):
    rng, pulled, taken = np.random.default_rng(seed), [], []

    def items():
        for i in range(count):
            if i == fail_at and not in_function:
                raise ValueError(f"at {i}")
            pulled.append(i)
            _spin(rng)
            yield i

    def function(i):
        _spin(np.random.default_rng(i))
        if i == fail_at and in_function:
            raise ValueError(f"at {i}")
        return 2 * i

    def take():
        with closing(spread(function, items(), depth, workers)) as made:
            for result in made:
                taken.append(result)
                assert len(pulled) <= len(taken) + depth

    if fail_at < count:
        with pytest.raises(ValueError, match=f"at {fail_at}"):
            take()
    else:
        take()
    assert taken == [2 * i for i in range(min(count, fail_at))]
    assert not _mine()


def test_who_waits_tells_how_far_others_are():
    """The item comes only after it was asked for three times, and on this very thread."""
    release, asked = threading.Event(), []

    def items():
        release.wait()
        yield 7

    def idle():
        asked.append(threading.current_thread())
        if len(asked) == 3:
            release.set()

    assert list(ahead(items(), 1, idle=idle)) == [7]
    assert set(asked) == {threading.main_thread()}


def test_an_error_of_who_tells_ends_the_thread():
    release = threading.Event()

    def items():
        release.wait()
        yield 7

    def idle():
        release.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ahead(items(), 1, idle=idle))
    assert not _mine()


def test_stop_ends_all_stages_though_one_waits_for_the_other():
    """The first stage is in the middle of an item when it is stopped: that is its last."""
    begun, release, stop, made = threading.Event(), threading.Event(), Stop(), []

    def items():
        for i in range(100):
            if i == 5:
                begun.set()
                release.wait()
            made.append(i)
            yield i

    first = ahead(items(), 2, stop=stop)
    second = spread(lambda i: i, first, 2, 2, stop=stop)
    third = ahead(second, 2, stop=stop)
    with closing(third), stop:
        assert [next(third) for _ in range(5)] == [0, 1, 2, 3, 4]
        begun.wait()
        threading.Thread(target=lambda: (stop.wait(), release.set())).start()
    assert made == [0, 1, 2, 3, 4, 5]
    assert not _mine()
    with pytest.raises(Stopped):
        stop.check()


def test_an_error_of_who_tells_stops_a_stage_that_waits_for_another():
    """The first stage ends its item only when it is told to stop, and the second waits for that."""
    stop = Stop()

    def items():
        assert stop.wait(60), "nobody said stop"
        yield 1

    def idle():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ahead(ahead(items(), 1, stop=stop), 1, stop=stop, idle=idle))
    assert not _mine()


def test_who_waits_for_what_was_stopped_is_told():
    release, stop = threading.Event(), Stop()

    def items():
        release.wait()
        yield 1

    def idle():
        stop.set()
        release.set()

    with pytest.raises(Stopped):
        list(ahead(items(), 1, stop=stop, idle=idle))
    assert not _mine()


@pytest.mark.parametrize("attempt", range(10))
def test_an_interrupt_while_threads_are_started_or_waited_for(attempt):
    begun, release = threading.Event(), threading.Event()

    def items():
        begun.set()
        release.wait()
        yield 1

    def interrupt():
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        release.set()

    def take():
        with closing(spread(lambda i: i, items(), 3, 3)) as made:
            threading.Thread(target=interrupt).start()
            next(made)
            # The item may have come before the interrupt has.
            threading.Event().wait(30)

    with pytest.raises(KeyboardInterrupt):
        take()
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
