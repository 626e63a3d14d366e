"""Contents: every run's own, generated ahead in one order whatever the timing, and nothing kept that is done with."""

from __future__ import annotations

import sys
import threading
import weakref
from contextlib import contextmanager
from itertools import islice

import numpy as np
import pytest

from clear_rt import contents as contents_module
from clear_rt import frames
from clear_rt.config import DenoiseConfig
from clear_rt.contents import Contents
from clear_rt.crops import place
from clear_rt.errors import EngineError
from clear_rt.generate import CropGenerator
from clear_rt.latents import picture_of
from clear_rt.regions import RegionRun, Timetable
from clear_rt.report import Stopwatch
from clear_rt.shapes import Box
from clear_rt.threads import Stop, Stopped
from tests.block_engine import BlockEngine, answer, spec
from tests.numbered_scene import SIZE, TEXT, numbered_scene

ABOVE = Box(40, 10, 100, 10)
OVERLAPPING = [RegionRun(0, 40, TEXT), RegionRun(10, 60, ABOVE), RegionRun(45, 46, TEXT)]


class Cache(list):
    """A list that can be watched."""


class Watched(BlockEngine):
    """Keeps no cache, and knows which are kept elsewhere."""

    def __init__(self):
        super().__init__()
        self._given = []
        self.most_alive = 0

    def _stepped(self, caches):
        self._given = [given for given in self._given if given() is not None]
        self.most_alive = max(self.most_alive, len(self._given))
        stepped = Cache()
        self._given.append(weakref.ref(stepped))
        return stepped

    def caches_alive(self):
        return sum(given() is not None for given in self._given)


class Shaky(BlockEngine):
    """Stops half-way, so that noise stays in the picture, is slow now and then, and knows who called what."""

    def __init__(self, seed=None, fail_after_steps=None):
        super().__init__(fail_after_steps)
        self._rng = None if seed is None else np.random.default_rng(seed)
        self.called, self.threads, self.decoded_frames = [], set(), 0

    def _shaken(self, name, shape):
        self.called.append((name, shape))
        self.threads.add(threading.current_thread())
        if self._rng is not None and self._rng.integers(4) == 0:
            for _ in range(self._rng.integers(200_000)):
                pass

    def encode(self, frames, caches):
        self._shaken("encode", frames.shape)
        return super().encode(frames, caches)

    def decode(self, latent, caches):
        self._shaken("decode", latent.shape)
        made, caches = super().decode(latent, caches)
        self.decoded_frames += made.shape[1]
        return made, caches

    def control(self, latents):
        self._shaken("control", latents.shape)
        return super().control(latents)

    def velocity(self, latents, control, row):
        self._shaken("velocity", latents.shape)
        return super().velocity(latents, control, row) * np.float32(0.5)


@pytest.fixture
def scene(tmp_path):
    return frames.probe(numbered_scene(tmp_path / "in.mkv", 60, []))


def _contents(info, runs, engine, tell=lambda done, total: None, stop=None, **config):
    generator = CropGenerator(engine, spec(), DenoiseConfig(**config))
    return Contents(info, _shown(info), runs, generator, Stopwatch(), tell, stop)


def _shown(info):
    for frame in frames.read(info):
        yield frame, None


def _taken(contents, runs, count=60):
    """What the writing pass gets: (frame, run, content) of every frame, all its runs."""
    table = Timetable(runs)
    for index in range(count):
        for run in table.at(index):
            placement = place(run.box, SIZE, 16, 1 << 20, ())
            yield index, run, placement.restore(picture_of(contents.next_of(run)))


def _mine():
    return [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]


@contextmanager
def _switching_often():
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


def test_runs_that_are_asked_for_in_turn(scene):
    """As the writing pass does: every frame, all its runs."""
    read = {frame.index: frame for frame in frames.read(scene)}
    with _contents(scene, OVERLAPPING, BlockEngine()) as contents:
        for index, run, found in _taken(contents, OVERLAPPING):
            placement = place(run.box, SIZE, 16, 1 << 20, ())
            crop = placement.cut(read[index].rgb(SIZE.height_px, SIZE.width_px, exact=True))
            assert found.shape == (run.box.height_px, run.box.width_px, 3)
            # fp32 over 16 channels; a frame in another's place is 3 levels off.
            np.testing.assert_allclose(found, placement.restore(answer(crop)), atol=0.01)
        # 11, 14 and 1 latents, windows of 5 that lie 3 apart: 0 3 6, 0 3 6 9, and one short one.
        assert contents.windows == 8
        assert contents.regions_scaled == 0
        assert (contents.runs_short, contents.notes) == (1, ())
    assert not _mine()


def _on_one_thread(scene, runs, engine, **config):
    """The same by no thread but this one: one generator per run, asked in turn; the calls of the engine besides."""
    generator = CropGenerator(engine, spec(), DenoiseConfig(**config))
    read = list(frames.read(scene))
    found, made, table = [], {}, Timetable(runs)
    for index in range(60):
        for run in table.at(index):
            placement = place(run.box, SIZE, 16, 1 << 20, ())
            if run not in made:
                crops = (
                    placement.cut(read[i].rgb(SIZE.height_px, SIZE.width_px, exact=True))
                    for i in range(run.start_frame, run.stop_frame)
                )
                total_frames = run.stop_frame - run.start_frame
                made[run] = generator.crops(runs.index(run), crops, total_frames, Stopwatch())
            found.append((index, run, placement.restore(next(made[run]))))
    return found, engine.called


@pytest.mark.parametrize("policy", ["paper", "reference", "stream"])
def test_threads_change_no_bit_and_no_call_however_slow_the_engine_is_at_times(scene, policy):
    expected, called = _on_one_thread(scene, OVERLAPPING, Shaky(), policy=policy, seed=3)
    for seed in range(3):
        engine = Shaky(seed)
        with _switching_often(), _contents(scene, OVERLAPPING, engine, policy=policy, seed=3) as contents:
            found = list(_taken(contents, OVERLAPPING))
        assert engine.called == called
        assert [place[:2] for place in found] == [place[:2] for place in expected]
        for (_, _, content), (_, _, truth) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(content, truth)
        assert len(engine.threads) == 1
        assert threading.main_thread() not in engine.threads


def test_the_engine_is_ahead_by_what_a_window_makes_final_at_once_and_no_more(scene, monkeypatch):
    """Windows of 5 latents 3 apart, of which the last makes 20 frames final; or by as many as memory is given for."""
    (run,) = runs = [RegionRun(0, 60, TEXT)]
    placement = place(TEXT, SIZE, 16, 1 << 20, ())
    for most_bytes, depth_frames in (
        (1 << 29, 20),
        (5 * 12 * placement.profile.width_px * placement.profile.height_px, 5),
    ):
        monkeypatch.setattr(contents_module, "GENERATED_BYTES", most_bytes)
        engine, ahead_frames = Shaky(), []
        with _contents(scene, runs, engine) as contents:
            for taken in range(1, 61):
                contents.next_of(run)
                for _ in range(20_000):
                    pass
                # The rest of the latent that a frame is made of is there with it.
                assert engine.decoded_frames <= taken + depth_frames + 3
                ahead_frames.append(engine.decoded_frames - taken)
        assert max(ahead_frames) > 3


def test_caches_go_with_the_last_frame_of_their_run(scene):
    """However many runs there are, an encoder's and a decoder's are alive, and the one before as it is replaced."""
    engine = Watched()
    runs = [RegionRun(start, start + 9, TEXT) for start in range(0, 60, 10)]
    with _contents(scene, runs, engine) as contents:
        assert len(list(_taken(contents, runs))) == 54
    assert engine.caches_alive() == 0
    assert 2 <= engine.most_alive <= 3


def test_each_run_has_noise_of_its_own_and_it_does_not_depend_on_who_is_asked_first(scene):
    runs = [RegionRun(0, 30, TEXT), RegionRun(5, 30, TEXT)]
    found = []
    for order in (runs, runs[::-1]):
        with _contents(scene, runs, Shaky(), seed=4) as contents:
            found.append(
                {run: [contents.next_of(run) for _ in range(run.stop_frame - run.start_frame)] for run in order}
            )
    for run in runs:
        np.testing.assert_array_equal(found[0][run], found[1][run])
    assert np.abs(found[0][runs[0]][5] - found[0][runs[1]][0]).max() > 1 / 128


def test_progress_is_told_step_by_step_on_the_thread_that_asks(scene):
    """Windows 0, 3 and 6 of the first run, one of the second, 2 steps each; the first frame needs two windows."""
    told, tellers = [], set()

    def tell(*counts):
        told.append(counts)
        tellers.add(threading.current_thread())

    runs = [RegionRun(0, 40, TEXT), RegionRun(50, 60, ABOVE)]
    with _contents(scene, runs, BlockEngine(), tell) as contents:
        contents.tell()
        assert told == [(0, 8)]
        contents.next_of(runs[0])
        contents.tell()
        assert len(told) >= 4
        for run, frames_left in ((runs[0], 39), (runs[1], 10)):
            for _ in range(frames_left):
                contents.next_of(run)
                contents.tell()
        assert contents.windows == 4
    assert told == [(done, 8) for done in range(9)]
    assert tellers == {threading.main_thread()}


def test_nothing_is_told_where_there_is_nothing_to_do(scene):
    told = []
    with _contents(scene, [], BlockEngine(), lambda *counts: told.append(counts)) as contents:
        contents.tell()
    assert told == []


@pytest.mark.parametrize("fail_after_steps", [0, 5, 9])
def test_an_engine_that_fails_while_runs_overlap_does_so_after_what_it_has_made(scene, fail_after_steps):
    expected, _ = _on_one_thread(scene, OVERLAPPING, Shaky())
    for seed in range(3):
        engine, found = Shaky(seed, fail_after_steps), []
        with (
            _switching_often(),
            _contents(scene, OVERLAPPING, engine) as contents,
            pytest.raises(EngineError, match="as it was told to"),
        ):
            found.extend(_taken(contents, OVERLAPPING))
        assert engine.velocities == fail_after_steps + 1
        assert len(found) < len(expected)
        for (_, _, content), (_, _, truth) in zip(found, expected, strict=False):
            np.testing.assert_array_equal(content, truth)
        assert not _mine()


@pytest.mark.parametrize("taken", [0, 1, 25])
def test_leaving_early_ends_all_threads_and_the_engine_with_the_call_it_is_in(scene, taken):
    engine, stop = Shaky(), Stop()
    with _contents(scene, OVERLAPPING, engine, stop=stop) as contents:
        list(islice(_taken(contents, OVERLAPPING), taken))
    assert stop.is_set()
    assert not _mine()
    assert (len(engine.called) == 0) == (taken == 0)


def test_a_window_that_is_stopped_takes_no_further_step(scene):
    """Told to stop in the middle of a window's first step, of three."""
    begun, stop = threading.Event(), Stop()

    class Waiting(Shaky):
        def velocity(self, latents, control, row):
            begun.set()
            stop.wait()
            return super().velocity(latents, control, row)

    engine, run = Waiting(), RegionRun(0, 60, TEXT)
    with _contents(scene, [run], engine, stop=stop, steps=3) as contents:
        threading.Thread(target=lambda: (begun.wait(), stop.set())).start()
        with pytest.raises(Stopped):
            contents.next_of(run)
    assert engine.velocities == 1
    assert not _mine()
