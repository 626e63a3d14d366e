"""Contents: every run's in turn, and the engine's caches gone with the run's last frame."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from clear_rt import frames
from clear_rt.config import DenoiseConfig
from clear_rt.contents import Contents
from clear_rt.crops import place
from clear_rt.generate import CropGenerator
from clear_rt.regions import RegionRun
from clear_rt.report import Stopwatch
from clear_rt.shapes import Box
from tests.block_engine import BlockEngine, answer, spec
from tests.numbered_scene import SIZE, TEXT, numbered_scene

ABOVE = Box(40, 10, 100, 10)


class Cache(list):
    """A list that can be watched."""


class Watched(BlockEngine):
    """Keeps no cache, and knows which are kept elsewhere."""

    def __init__(self):
        super().__init__()
        self._given = []

    def _stepped(self, caches):
        stepped = Cache()
        self._given.append(weakref.ref(stepped))
        return stepped

    def caches_alive(self):
        return sum(given() is not None for given in self._given)


@pytest.fixture
def scene(tmp_path):
    return frames.probe(numbered_scene(tmp_path / "in.mkv", 60, []))


def _contents(info, runs, engine, **config):
    return Contents(info, _shown(info), runs, CropGenerator(engine, spec(), DenoiseConfig(**config)), 4, Stopwatch())


def _shown(info):
    for frame in frames.read(info):
        yield frame, None


def test_runs_that_are_asked_for_in_turn(scene):
    """As the writing pass does: every frame, all its runs."""
    runs = [RegionRun(0, 40, TEXT), RegionRun(10, 60, ABOVE), RegionRun(45, 46, TEXT)]
    with _contents(scene, runs, BlockEngine()) as contents:
        for frame in frames.read(scene):
            for run in (run for run in runs if run.start_frame <= frame.index < run.stop_frame):
                placement = place(run.box, SIZE, 16, 1 << 20, ())
                crop = placement.cut(frame.rgb(SIZE.height_px, SIZE.width_px, exact=True))
                found = contents.next_of(run)
                assert found.shape == (run.box.height_px, run.box.width_px, 3)
                # fp32 over 16 channels; a frame in another's place is 3 levels off.
                np.testing.assert_allclose(found, placement.restore(answer(crop)), atol=0.01)
        # 11, 14 and 1 latents, windows of 5 that lie 3 apart: 0 3 6, 0 3 6 9, and one short one.
        assert contents.windows == 8
        assert contents.regions_scaled == 0
        assert (contents.runs_short, contents.notes) == (1, ())


def test_caches_go_with_the_last_frame_of_their_run(scene):
    engine, runs = Watched(), [RegionRun(0, 23, TEXT), RegionRun(0, 60, ABOVE)]
    with _contents(scene, runs, engine) as contents:
        for _ in range(22):
            contents.next_of(runs[0])
        assert engine.caches_alive() > 0
        contents.next_of(runs[0])
        assert engine.caches_alive() == 0
        contents.next_of(runs[1])
        assert engine.caches_alive() > 0
    assert engine.caches_alive() == 0


def test_each_run_has_noise_of_its_own_and_it_does_not_depend_on_who_is_asked_first(scene):
    class Noisy(BlockEngine):
        def velocity(self, latents, control, row):
            return super().velocity(latents, control, row) * np.float32(0.5)

    runs = [RegionRun(0, 30, TEXT), RegionRun(5, 30, TEXT)]
    found = []
    for order in (runs, runs[::-1]):
        with _contents(scene, runs, Noisy(), seed=4) as contents:
            found.append(
                {run: [contents.next_of(run) for _ in range(run.stop_frame - run.start_frame)] for run in order}
            )
    for run in runs:
        np.testing.assert_array_equal(found[0][run], found[1][run])
    assert np.abs(found[0][runs[0]][5] - found[0][runs[1]][0]).max() > 1


def test_progress_is_told_step_by_step_before_the_first_frame_is_there(scene):
    """Windows 0, 3 and 6 of the first run, one of the second, 2 steps each; the first frame needs two windows."""
    told = []
    runs = [RegionRun(0, 40, TEXT), RegionRun(50, 60, ABOVE)]
    generator = CropGenerator(BlockEngine(), spec(), DenoiseConfig())
    with Contents(
        scene, _shown(scene), runs, generator, 4, Stopwatch(), lambda *counts: told.append(counts)
    ) as contents:
        contents.next_of(runs[0])
        assert told == [(done, 8) for done in range(len(told))]
        assert len(told) >= 3
        for run, frames_left in ((runs[0], 39), (runs[1], 10)):
            for _ in range(frames_left):
                contents.next_of(run)
        assert contents.windows == 4
    # Said once more as the second run begins.
    assert told == [(done, 8) for done in [*range(7), *range(6, 9)]]
