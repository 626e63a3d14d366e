"""The stopwatch: nested stages are counted once, in the innermost, per thread."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from types import SimpleNamespace

from clear_rt import report
from clear_rt.report import Stopwatch


def _spin(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_nested_stages_are_exclusive():
    watch = Stopwatch()
    begun = time.perf_counter()
    with watch.stage("outer"):
        _spin(0.02)
        with watch.stage("inner"):
            _spin(0.03)
            with watch.stage("innermost"):
                _spin(0.01)
        _spin(0.01)
    total = time.perf_counter() - begun
    assert abs(sum(watch.seconds.values()) - total) < 2e-3
    assert watch.seconds["outer"] >= 0.03
    assert 0.03 <= watch.seconds["inner"] < total - watch.seconds["outer"]
    assert watch.seconds["innermost"] >= 0.01


def test_threads_do_not_disturb_each_other():
    watch = Stopwatch()

    def other() -> None:
        with watch.stage("other"):
            _spin(0.02)

    with watch.stage("main"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert watch.seconds["main"] >= 0.02
    assert watch.seconds["other"] >= 0.02


def test_each_counts_getting_an_item_and_not_using_it():
    watch = Stopwatch()

    def items():
        for i in range(3):
            _spin(0.01)
            yield i

    got = []
    for item in watch.each(items(), "getting"):
        got.append(item)
        _spin(0.03)
    assert got == [0, 1, 2]
    assert 0.03 <= watch.seconds["getting"] < 0.06


def test_each_closes_what_it_reads_from_when_left_early():
    closed = []

    def items():
        try:
            yield from range(10)
        finally:
            closed.append(True)

    reading = Stopwatch().each(items(), "getting")
    next(reading)
    reading.close()
    assert closed == [True]


def test_handed_counts_until_the_next_item_is_asked_for_and_not_making_it():
    watch = Stopwatch()

    def items():
        for i in range(3):
            _spin(0.03)
            yield i

    got = []
    for item in watch.handed(items(), "until asked again"):
        got.append(item)
        _spin(0.01)
    assert got == [0, 1, 2]
    assert 0.03 <= watch.seconds["until asked again"] < 0.06


def test_threads_that_share_a_stage_lose_nothing(monkeypatch):
    """By a clock that goes on by 1 s whenever its thread looks at it, every stage takes 1 s."""
    watch, here = Stopwatch(), threading.local()

    def look() -> float:
        here.clock = getattr(here, "clock", None) or itertools.count()
        return float(next(here.clock))

    def work() -> None:
        for _ in range(3000):
            with watch.stage("shared"):
                pass

    monkeypatch.setattr(report, "time", SimpleNamespace(perf_counter=look))
    threads = [threading.Thread(target=work) for _ in range(4)]
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before_s)
    assert watch.seconds == {"shared": 12000.0}
