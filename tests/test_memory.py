"""Memory does not grow with the video: two minutes take what thirty seconds take (ten minutes: bench_memory)."""

from __future__ import annotations

import pytest

pytest.importorskip("PIL", reason="drawing text into the clips needs the [eval] extra")

from benchmarks.bench_memory import LIMIT_MIB, measure


def test_two_minutes_take_what_thirty_seconds_take():
    short = measure(30, LIMIT_MIB, "limit of 1 GB")
    long = measure(120, short.value, "30 s clip")
    assert short.value < LIMIT_MIB
    assert long.value < 1.1 * short.value
    assert long.detail["report"]["frames"] == 4 * short.detail["report"]["frames"] == 3000
