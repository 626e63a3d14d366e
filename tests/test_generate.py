"""Crops of a run to generated crops: every frame its own, whatever the windows, and no more held than they need."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.config import DenoiseConfig
from clear_rt.errors import ConfigError, EngineError
from clear_rt.generate import CropGenerator
from clear_rt.report import Stopwatch
from clear_rt.schedule import frames_of, latents_of
from tests.block_engine import CHANNELS, BlockEngine, answer, spec

HEIGHT, WIDTH = 16, 32


def _picture(index):
    """Its brightness says which it is: 2 levels more than the one before."""
    return np.full((HEIGHT, WIDTH, 3), (2 * index) % 256, np.uint8)


def _pictures(count, pulled=None):
    for index in range(count):
        if pulled is not None:
            pulled.append(index)
        yield _picture(index)


def _generated(total_frames, engine=None, watch=None, ordinal=0, generator_spec=None, **config):
    generator = CropGenerator(engine or BlockEngine(), generator_spec or spec(), DenoiseConfig(**config))
    return generator.crops(ordinal, _pictures(total_frames), total_frames, watch or Stopwatch())


def _assert_every_frame_is_its_own(found, total_frames):
    count = 0
    for count, picture in enumerate(found, start=1):
        # Less than one level: a frame in another's place is 2 off.
        np.testing.assert_allclose(picture, answer(_picture(count - 1)), atol=0.1)
    assert count == total_frames


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 90),
    st.sampled_from(["paper", "reference", "stream"]),
    st.booleans(),
    st.sampled_from([(5, 2), (3, 1), (1, 0), (4, 3)]),
    st.sampled_from([2, 3]),
)
def test_every_frame_is_its_own(total_frames, policy, fixed, window_and_overlap, steps):
    window, overlap = window_and_overlap
    fixed = fixed and policy != "reference"
    engine = BlockEngine()
    changed = spec(window_latents=window, overlap_latents=overlap, latents_fixed=fixed)
    found = _generated(total_frames, engine, generator_spec=changed, policy=policy, steps=steps)
    _assert_every_frame_is_its_own(found, total_frames)
    latents = latents_of(total_frames)
    if fixed:
        assert set(engine.window_latents) == {window}
        assert sum(shape[1] for shape in engine.encoded_shapes) == frames_of(max(latents, window))
    else:
        assert sum(shape[1] for shape in engine.encoded_shapes) == frames_of(latents)


@pytest.mark.parametrize(("policy", "windows_ahead"), [("paper", 1), ("stream", 0)])
def test_pictures_are_pulled_as_late_as_the_policy_allows(policy, windows_ahead):
    """Windows of 5 latents 3 apart: a latent that two windows share needs both, and with 2 steps `paper` one more.

    Nothing is pulled before the first crop is asked for.
    """
    pulled = []
    generator = CropGenerator(BlockEngine(), spec(), DenoiseConfig(policy=policy, steps=2))
    found = generator.crops(0, _pictures(400, pulled), 400, Stopwatch())
    assert pulled == []
    most_ahead = 0
    for index, _ in enumerate(found):
        most_ahead = max(most_ahead, len(pulled) - index)
    assert len(pulled) == 400
    assert most_ahead == 4 * (5 + 3 * windows_ahead)


def test_a_run_that_ends_early_is_not_taken_for_whole():
    """Runs are filled up to whole latents and windows; pictures that are missing before that are an error."""
    generator = CropGenerator(BlockEngine(), spec(), DenoiseConfig())
    with pytest.raises(ValueError, match="expected 50 pictures, got 30"):
        list(generator.crops(0, _pictures(30), 50, Stopwatch()))


def test_the_same_seed_gives_the_same_noise_and_every_run_its_own():
    starts = []

    class Seen(BlockEngine):
        def velocity(self, latents, control, row):
            if row == 0:
                starts[-1].append(latents.copy())
            return super().velocity(latents, control, row)

    for seed, ordinal in [(0, 0), (0, 0), (1, 0), (0, 1)]:
        starts.append([])
        list(_generated(9, Seen(), ordinal=ordinal, seed=seed))
    first, again, other_seed, other_run = (np.concatenate(windows, axis=1) for windows in starts)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other_seed).min() > 0
    assert np.abs(first - other_run).min() > 0


def test_noise_comes_from_the_file_where_one_is_given(tmp_path):
    noise = np.random.default_rng(0).normal(size=(CHANNELS, 4, 2, 4)).astype(np.float32)
    np.save(tmp_path / "noise.npy", noise)
    starts = []

    class Seen(BlockEngine):
        def velocity(self, latents, control, row):
            starts.append(latents.copy())
            return super().velocity(latents, control, row)

    config = DenoiseConfig(noise=tmp_path / "noise.npy")
    generator = CropGenerator(Seen(), spec(), config)
    _assert_every_frame_is_its_own(generator.crops(3, _pictures(9), 9, Stopwatch()), 9)
    np.testing.assert_array_equal(starts[0], noise[:, :3])
    assert generator.seed is None


def test_stages_are_timed():
    watch = Stopwatch()
    list(_generated(20, watch=watch))
    assert set(watch.seconds) == {"encode latents", "denoise", "decode latents"}
    assert min(watch.seconds.values()) > 0


def test_an_error_of_the_engine_arrives():
    found = _generated(200, BlockEngine(fail_after_steps=9))
    with pytest.raises(EngineError, match="as it was told to"):
        list(found)


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        ({"steps": 7}, {}, "tables for 2, 3 steps"),
        ({"policy": "reference"}, {"latents_fixed": True}, "--policy reference needs windows of any length"),
    ],
)
def test_what_the_bundle_cannot_do_is_refused(config, changes, words):
    with pytest.raises(ConfigError, match=words):
        CropGenerator(BlockEngine(), spec(**changes), DenoiseConfig(**config))


def test_noise_that_is_none_is_refused(tmp_path):
    (tmp_path / "noise.npy").write_bytes(b"this is no array")
    with pytest.raises(ConfigError, match=r"noise\.npy"):
        CropGenerator(BlockEngine(), spec(), DenoiseConfig(noise=tmp_path / "noise.npy"))


@pytest.mark.parametrize(
    ("frames", "short", "note"),
    [
        ([14, 90], 0, ""),
        ([13, 17, 40], 1, "1 of 3 runs is shorter than the bundle's window of 17 frames; filled up to one window with"),
        ([1, 5, 40], 2, "2 of 3 runs are shorter than the bundle's window of 17 frames; filled up to one window each"),
        ([2], 1, "1 of 1 run is shorter than the bundle's window of 17 frames; filled up to one window with the last"),
    ],
)
def test_short_runs_are_counted_and_noted_where_frames_are_made_up(frames, short, note):
    """A run of 14 frames has 5 latents like one of 17: it fills the window."""
    fixed, dynamic = (CropGenerator(BlockEngine(), spec(latents_fixed=f), DenoiseConfig()) for f in (True, False))
    assert fixed.short_runs(frames) == dynamic.short_runs(frames) == short
    assert dynamic.notes(frames) == ()
    notes = fixed.notes(frames)
    assert len(notes) == bool(short)
    assert all(sentence.startswith(note) for sentence in notes)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 120), st.sampled_from(["paper", "reference", "stream"]), st.booleans(), st.sampled_from([2, 3]))
def test_every_step_of_every_window_is_told_of(total_frames, policy, fixed, steps):
    engine, told = BlockEngine(), []
    fixed = fixed and policy != "reference"
    generator = CropGenerator(engine, spec(latents_fixed=fixed), DenoiseConfig(policy=policy, steps=steps))
    found = generator.crops(
        0, _pictures(total_frames), total_frames, Stopwatch(), lambda: told.append(engine.velocities)
    )
    for _ in range(total_frames):
        next(found)
    assert told == list(range(1, generator.calls(total_frames) + 1))


@pytest.mark.parametrize("changes", [{"latent_channels": 12}, {"latent_px": 16}])
def test_a_bundle_that_is_wrong_about_its_latents_is_one_sentence(changes):
    with pytest.raises(EngineError, match=r"expected latents .*, found \[16, 2, 4\]; build the bundle again"):
        next(_generated(30, generator_spec=spec(**changes)))


def test_released_windows_go_by_the_bundles_frames_of_a_latent():
    generator = CropGenerator(BlockEngine(), spec(latent_frames=2), DenoiseConfig(policy="reference"))
    assert len(generator.plan(100).windows[0]) == 9


def test_default_steps_are_the_bundles():
    generator = CropGenerator(BlockEngine(), spec(default_steps=3), DenoiseConfig())
    assert (generator.steps, generator.seed) == (3, 0)
