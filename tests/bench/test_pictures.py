"""Letters, the scene, its clip, and charts: what is drawn is where it belongs."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from clear_rt import frames
from clear_rt.bench.canvas import Canvas
from clear_rt.bench.chart import COLOURS, draw
from clear_rt.bench.clip import write_clip
from clear_rt.bench.letters import width_px, written
from clear_rt.bench.scene import Captions, Scene
from clear_rt.bundle import open_bundle
from clear_rt.prior import Prior
from clear_rt.profiles import NAMES, read_profile
from clear_rt.runtime.engine import open_engine
from clear_rt.shapes import Size, working_size

RED = (200, 0, 0)


def test_letters_are_all_different():
    known = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789%/+.,:;-_()=<>|?"
    shapes = {letter: written(letter).tobytes() for letter in known}
    assert len(set(shapes.values())) == len(known)
    assert written("é").tobytes() == shapes["?"]
    assert written("AB", 3).shape == (27, width_px("AB", 3)) == (27, 33)
    assert not written(" ").any()


def test_what_is_drawn_outside_is_cut_off():
    canvas = Canvas(20, 10)
    canvas.fill(-5, -5, 8, 8, RED)
    assert (canvas.pixels == RED).all(-1).sum() == 9
    canvas.line((-10, 5), (30, 5), RED, thick_px=1)
    assert (canvas.pixels[5] == RED).all()
    canvas.text(15, 8, "W", RED)
    canvas.text(100, 100, "W", RED)


@pytest.mark.parametrize("name", [*NAMES, "64x32", "2048x16"])
def test_captions_lie_in_their_region(name):
    profile = read_profile(name)
    covered = Captions(profile.picture, profile.box).covered
    assert covered.any()
    rows = np.flatnonzero(covered.any(axis=1))
    assert rows[0] >= profile.box.y_px - 1
    assert covered.shape == (profile.picture.height_px, profile.picture.width_px)


def test_the_scene_moves_and_repeats():
    size = Size(64, 48)
    first, again = (list(Scene(size).pictures(5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])
    # It pans by two pixels.
    assert any(np.array_equal(first[1][:, shift[0]], first[0][:, shift[1]]) for shift in (
        (slice(2, None), slice(None, -2)), (slice(None, -2), slice(2, None))))  # fmt: skip


def test_the_prior_sees_the_text_of_the_clip(tmp_path):
    profile = read_profile("640x112")
    clip = write_clip(tmp_path / "clip.mp4", profile, 3)
    info = frames.probe(clip.path)
    assert (info.width_px, info.height_px, info.rate, clip.frames) == (640, 112, 25, 3)
    bundle = open_bundle()
    working = working_size(640, 112, bundle.prior.short_side_px)
    with closing(frames.read(info)) as reader:
        frame = next(reader)
    found = Prior(open_engine("onnx", bundle, generates=False), bundle.prior.multiple_px)(
        frame.rgb(working.height_px, working.width_px)
    )
    assert found.max() > 0.9 * 255


def test_bars_are_as_long_as_their_times():
    """Two profiles whose stages are known, in milliseconds per new frame."""
    stages = dict.fromkeys(COLOURS, None)

    def profile(name, factor):
        times = {
            stage: {"mean_s": factor * 1e-3 * (i + 1), "calls_per_window": 4} if "VAE" in stage else
            {"mean_s": factor * 1e-3 * (i + 1)} for i, stage in enumerate(stages)
        }  # fmt: skip
        return {"profile": name, "window": {"new_frames": 8}, "stages": times}

    document = {
        "profiles": [profile("a", 1), profile("b", 2)],
        "environment": {"gpus": [], "cpu": "a CPU", "cores": 2},
        "bundle": {"name": "x"},
        "engine": "onnx",
        "precision": "fp32",
        "ceilings": {"matrix_tflops": {"fp32": 1.0}, "copy_gb_per_s": 10.0},
    }
    picture = draw(document)
    expected = np.array([i + 1 if "VAE" not in stage else (i + 1) / 2 for i, stage in enumerate(stages)])
    # Below the legend: the rows in which the first and the second bar lie.
    bars = [picture[200], picture[256]]
    for bar, factor in zip(bars, (1, 2), strict=True):
        lengths = np.array([(bar == colour).all(-1).sum() for colour in COLOURS.values()])
        per_ms = lengths.sum() / (factor * expected.sum())
        # Both ends of a bar are rounded to a pixel.
        assert np.abs(lengths - factor * expected * per_ms).max() <= 1.5
    assert (bars[1] != 255).any(-1).sum() > (bars[0] != 255).any(-1).sum()
