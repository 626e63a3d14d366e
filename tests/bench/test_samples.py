"""Percentiles of measured times."""

import numpy as np
import pytest

from clear_rt.bench.samples import PERCENTILES, Clock, Samples, percentile


def test_percentiles_by_hand():
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([4.0, 1.0, 3.0, 2.0], 90) == pytest.approx(3.7)
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 50)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
def test_percentiles_are_those_of_numpy(count):
    seconds = list(np.random.default_rng(count).exponential(size=count))
    for percent in (0, 1, *PERCENTILES, 100):
        assert percentile(seconds, percent) == pytest.approx(np.percentile(seconds, percent), rel=1e-12)


def test_warm_up_is_kept_apart():
    clock = Clock()
    clock.add("a", 9.0)
    clock.warming = False
    for seconds in (1.0, 3.0):
        clock.add("a", seconds)
    found = clock.stages["a"].as_dict()
    assert (found["count"], found["mean_s"], found["p50_s"]) == (2, 2.0, 2.0)
    assert (found["samples_s"], found["warmup_s"]) == ([1.0, 3.0], [9.0])


def test_what_is_left_to_the_device_counts_for_its_stage():
    done = []
    clock = Clock(lambda: done.append("settled"))
    assert clock.timed("a", lambda: done.append("called") or 5) == 5
    assert done == ["called", "settled"]
    assert len(clock.stages["a"].warmup) == 1
    assert Samples([2.0, 4.0]).mean == 3.0
