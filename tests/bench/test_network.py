"""What is asked of an engine that is measured, and what is made of the times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clear_rt.bench.network import CONTROL, DECODE, ENCODE, STEP, Window, measure
from clear_rt.bundle import open_bundle
from clear_rt.errors import ConfigError, EngineError
from clear_rt.shapes import Size
from tests.bench.counting_engine import CountingEngine


@pytest.fixture(scope="module")
def spec():
    return open_bundle().generator


def test_new_frames_are_those_of_the_design(spec):
    assert [(w.new_frames, w.frames) for w in (Window(21, 4), Window(9, 2))] == [(68, 81), (28, 33)]
    wan = replace(spec, window_latents=21, overlap_latents=4)
    assert Window.of(wan) == Window.of(wan, "stream") == Window(21, 4)
    # The released code takes its 81 frames and 16 for latents.
    assert Window.of(wan, "reference") == Window(81, 16)
    assert Window.of(wan, "reference").new_frames == 260


def test_calls_are_those_of_a_run_of_windows(spec):
    engine = CountingEngine()
    measure(engine, spec, Size(32, 16), window=Window(5, 2), steps=2, runs=2, warmups=1)
    rows = spec.step_tables[2].rows
    expected, encoded, decoded = [], 0, 0
    for window in range(4):
        for _ in range(3 if window else 5):
            expected.append(("encode", 4 if encoded else 1, encoded))
            encoded += 1
        held = tuple(range(encoded - 5, encoded))
        expected.append(("control", held))
        expected += [("velocity", held, row) for row in rows]
        for _ in range(3):
            expected.append(("decode", decoded))
            decoded += 1
    assert engine.calls == expected


def test_times_are_counted_per_stage_and_apart_from_the_warm_up(spec):
    found = measure(CountingEngine(), spec, Size(32, 16), window=Window(9, 2), steps=4, runs=3, warmups=2)
    counts = {name: (len(s.seconds), len(s.warmup)) for name, s in found.stages.items()}
    assert counts == {ENCODE: (21, 9 + 14), CONTROL: (3, 3), STEP: (12, 12), DECODE: (21, 21)}
    assert (len(found.windows.seconds), len(found.windows.warmup)) == (3, 3)
    p50 = {name: samples.p50 for name, samples in found.stages.items()}
    expected_s = 7 * p50[ENCODE] + p50[CONTROL] + 4 * p50[STEP] + 7 * p50[DECODE]
    assert found.seconds_per_window == pytest.approx(expected_s, rel=1e-12)
    assert found.fps == pytest.approx(28 / expected_s, rel=1e-12)
    # What the stages took lies within their windows.
    assert sum(sum(s.seconds) for s in found.stages.values()) <= sum(found.windows.seconds)
    assert 0 < found.first_frame_s <= found.windows.warmup[0]


def test_the_bundle_says_what_is_not_given(spec):
    found = measure(CountingEngine(), spec, Size(16, 16), runs=1, warmups=0)
    assert (found.window, found.steps) == (Window(5, 1), spec.default_steps)


@pytest.mark.parametrize("what", ["encode", "velocity", "decode"])
def test_an_engine_that_answers_nonsense_has_no_speed(spec, what):
    with pytest.raises(EngineError, match="its speed says nothing"):
        measure(CountingEngine(bad=what), spec, Size(16, 16), runs=1)


def test_what_the_bundle_does_not_take(spec):
    with pytest.raises(ConfigError, match="multiples of 16 px, got 24x16"):
        measure(CountingEngine(), spec, Size(24, 16))
    with pytest.raises(ConfigError, match="7"):
        measure(CountingEngine(), spec, Size(16, 16), steps=7)
