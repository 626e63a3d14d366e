"""The command line with a generator: options reach it, what is worth knowing is said, errors end in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clear_rt import remover
from clear_rt.cli import main
from clear_rt.errors import ExitStatus
from tests.block_engine import BlockEngine, bundle, spec
from tests.numbered_scene import TEXT, numbered_scene

MODEL = ["--fill", "model", "--lossless"]


@pytest.fixture
def engine(monkeypatch):
    """What every bundle and engine opened by the command line turns into; tests may replace its attributes."""
    blocks = BlockEngine()
    monkeypatch.setattr("clear_rt.bundle.open_bundle", lambda folder: bundle())
    monkeypatch.setattr(remover, "open_engine", lambda name, opened, **named: blocks)
    return blocks


def _run(capfd, *arguments):
    status = main(["remove", *map(str, arguments)])
    out, err = capfd.readouterr()
    return status, out, err.strip().splitlines()


def test_options_reach_the_generator_and_the_report(capfd, tmp_path, engine):
    source = numbered_scene(tmp_path / "in.mkv", 40)
    options = ["--steps", "3", "--policy", "stream", "--seed", "18446744073709551615", "--json"]
    status, out, err = _run(capfd, source, "-o", tmp_path / "out.mkv", *MODEL, *options)
    assert (status, err) == (0, [])
    report = json.loads(out)
    assert (report["fill"], report["policy"], report["steps"], report["seed"]) == ("model", "stream", 3, 2**64 - 1)
    assert report["windows"] == len(engine.window_latents) == engine.velocities / 3
    assert (report["regions_scaled"], report["notes"]) == (0, [])


def test_prose_says_how_the_fill_was_made(capfd, tmp_path, engine):
    source = numbered_scene(tmp_path / "in.mkv", 40)
    status, out, err = _run(capfd, source, "-o", tmp_path / "out.mkv", *MODEL)
    assert (status, err) == (0, [])
    assert f"fill model ({len(engine.window_latents)} windows of 2 steps, policy paper, seed 0)" in out


@pytest.mark.parametrize("fixed", [False, True])
def test_short_runs_are_reported_and_warned_of_where_frames_are_made_up(capfd, tmp_path, engine, fixed, monkeypatch):
    monkeypatch.setattr("clear_rt.bundle.open_bundle", lambda folder: bundle(spec(latents_fixed=fixed)))
    texts = [(0, 6, TEXT), (30, 70, TEXT)]
    source = numbered_scene(tmp_path / "in.mkv", 70, texts)
    sentence = (
        "1 of 2 runs is shorter than the bundle's window of 17 frames; filled up to one window with the last frame"
    )
    status, out, err = _run(capfd, source, "-o", tmp_path / "out.mkv", *MODEL, "--json")
    assert (status, err) == (0, [f"clear-rt: {sentence}"] if fixed else [])
    report = json.loads(out)
    assert (report["notes"], report["runs_short"]) == ([sentence] if fixed else [], 1)
    status, out, _ = _run(capfd, source, "-o", tmp_path / "again.mkv", *MODEL)
    assert status == 0
    assert "seed 0, 1 region run shorter than a window)" in out


def test_the_fill_without_a_model_reports_none(capfd, tmp_path, engine):
    status, out, _ = _run(capfd, numbered_scene(tmp_path / "in.mkv", 10), "-o", tmp_path / "out.mkv", "--json")
    report = json.loads(out)
    assert status == 0
    assert [report[key] for key in ("policy", "steps", "seed", "windows", "notes")] == [None, None, None, 0, []]


@pytest.mark.parametrize("mode", ["membrane", "paste", "off"])
def test_all_ways_to_meet_the_source(capfd, tmp_path, engine, mode):
    status, _, _ = _run(
        capfd, numbered_scene(tmp_path / "in.mkv", 20), "-o", tmp_path / "out.mkv", *MODEL, "--composite", mode
    )
    assert status == 0
    assert (tmp_path / "out.mkv").exists()


def _refused(capfd, tmp_path, status, words, *options, count=40):
    folder = tmp_path / "target"
    folder.mkdir()
    source = numbered_scene(tmp_path / "in.mkv", count)
    found, out, err = _run(capfd, source, "-o", folder / "out.mkv", *MODEL, *options)
    assert (found, out, len(err)) == (status, "", 1), err
    assert words in err[0]
    assert not list(folder.iterdir())


def test_steps_that_the_bundle_lacks(capfd, tmp_path, engine):
    _refused(capfd, tmp_path, ExitStatus.USAGE, "this bundle holds tables for 2, 3 steps", "--steps", "4")


def test_an_engine_that_fails_in_the_middle(capfd, tmp_path, engine):
    engine.fail_after_steps = 5
    _refused(capfd, tmp_path, ExitStatus.ENGINE, "as it was told to", count=100)
    assert engine.velocities == 6


@pytest.mark.parametrize("noise", ["missing", "text", "other size"])
def test_noise_that_does_not_fit(capfd, tmp_path, engine, noise):
    path = tmp_path / "noise.npy"
    if noise == "text":
        path.write_text("noise")
    elif noise == "other size":
        np.save(path, np.zeros((16, 5, 2, 2), np.float32))
    _refused(capfd, tmp_path, ExitStatus.USAGE, "noise.npy", "--noise", path)


def test_noise_of_the_right_size(capfd, tmp_path, engine):
    source = numbered_scene(tmp_path / "in.mkv", 20)
    assert _run(capfd, source, "-o", tmp_path / "out.mkv", *MODEL)[0] == 0
    height, width = (side // 8 for side in engine.encoded_shapes[0][2:])
    np.save(tmp_path / "noise.npy", np.zeros((spec().latent_channels, 6, height, width), np.float32))
    options = ["--noise", tmp_path / "noise.npy"]
    status, out, _ = _run(capfd, source, "-o", tmp_path / "again.mkv", *MODEL, *options)
    assert status == 0
    assert "noise from a file" in out
