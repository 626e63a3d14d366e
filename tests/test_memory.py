"""Memory does not grow with the video: ninety seconds take what thirty take (an hour: bench_memory)."""

from __future__ import annotations

import pytest

pytest.importorskip("PIL", reason="drawing text into the clips needs the [eval] extra")

from benchmarks.bench_memory import LIMIT_MIB, SHORT_SECONDS, TEXT_SECONDS, measure


def test_ninety_seconds_take_what_thirty_take():
    short = measure(SHORT_SECONDS, TEXT_SECONDS, LIMIT_MIB, "limit of 1 GB")
    long = measure(90, TEXT_SECONDS, short.value, "30 s clip")
    assert short.value < LIMIT_MIB
    assert long.value < 1.1 * short.value
    assert long.detail["report"]["frames"] == 3 * short.detail["report"]["frames"] == 2250
