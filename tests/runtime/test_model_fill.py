"""The whole path with an exported bundle: a real clip in, a real clip out, two engines that agree."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("torch", reason="one engine is torch: pip install '.[export]'")
pytest.importorskip("safetensors", reason="weights are safetensors: pip install '.[export]'")

from clear_rt import frames
from clear_rt.bundle import open_bundle
from clear_rt.config import CompositeConfig, DenoiseConfig, RegionConfig, RunConfig, WriteConfig
from clear_rt.generate import CropGenerator
from clear_rt.remover import Remover, remove
from clear_rt.report import Stopwatch
from clear_rt.runtime.engine import open_engine
from clear_rt.shapes import Box

# What the issue allows between engines, relative to the picture's own size.
AGREE = 1e-3
PICTURES = 27


@pytest.fixture(scope="module")
def crops(subtitled):
    """The captions of 27 frames, 7 latents: not a whole number of windows of 5."""
    return [frame.rgb(404, 720)[288:400, 112:608] for frame in islice(frames.read(frames.probe(subtitled)), PICTURES)]


@pytest.mark.parametrize("policy", ["paper", "reference", "stream"])
def test_engines_agree(random_bundle, crops, policy):
    bundle, made = open_bundle(random_bundle), []
    for name in ("onnx", "cuda"):
        generator = CropGenerator(open_engine(name, bundle), bundle.generator, DenoiseConfig(policy=policy, steps=3))
        made.append(np.stack([*generator.crops(0, crops, PICTURES, Stopwatch())]))
    assert made[0].shape == (PICTURES, 112, 496, 3)
    assert made[0].std() > 10
    difference = np.sqrt(np.square(made[0] - made[1]).mean(dtype=np.float64))
    assert difference < AGREE * np.sqrt(np.square(made[0]).mean(dtype=np.float64))


@pytest.mark.parametrize("steps", [2, 4])
def test_steps_and_seeds_matter_and_repeat(random_bundle, crops, steps):
    bundle = open_bundle(random_bundle)
    engine = open_engine("onnx", bundle)

    def generated(**options):
        generator = CropGenerator(engine, bundle.generator, DenoiseConfig(**options))
        return np.stack([*generator.crops(0, crops[:9], 9, Stopwatch())])

    once = generated(steps=steps, seed=1)
    np.testing.assert_array_equal(once, generated(steps=steps, seed=1))
    assert np.abs(once - generated(steps=steps, seed=2)).mean() > 1
    assert np.abs(once - generated(steps=5, seed=1)).mean() > 0.1


def test_a_real_clip_keeps_its_frames_and_what_is_not_text(random_bundle, subtitled, tmp_path):
    config = RunConfig(
        bundle=random_bundle,
        composite=CompositeConfig(fill="model"),
        denoise=DenoiseConfig(steps=2),
        write=WriteConfig(lossless=True),
    )
    seen = []
    report = Remover(config)(subtitled, tmp_path / "out.mkv", observe=seen.append)
    assert (report.fill, report.policy, report.steps, report.seed) == ("model", "paper", 2, 0)
    assert report.windows == 8
    source, result = (frames.read(frames.probe(path)) for path in (subtitled, tmp_path / "out.mkv"))
    changed = 0
    for was, now, watched in zip(source, result, seen, strict=True):
        full = was.planes[0].samples.shape
        covered = np.zeros(full, bool)
        if watched.matte.any():
            rows, columns = (np.arange(n) * m // n for n, m in zip(full, watched.matte.shape, strict=True))
            near = watched.matte > 0
            near = near | np.roll(near, 1, 0) | np.roll(near, -1, 0)
            near = near | np.roll(near, 1, 1) | np.roll(near, -1, 1)
            covered = near[rows][:, columns]
        np.testing.assert_array_equal(was.planes[0].samples[~covered], now.planes[0].samples[~covered])
        changed += bool((was.planes[0].samples != now.planes[0].samples).any())
    assert changed == report.frames_changed > 80


def test_the_command_says_what_it_did(random_bundle, subtitled, tmp_path):
    command = [sys.executable, "-m", "clear_rt", "remove", str(subtitled), "-o", str(tmp_path / "out.mp4"),
               "--fill", "model", "--bundle", str(random_bundle), "--steps", "2", "--policy", "stream", "--seed", "3",
               "--json"]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert (report["policy"], report["steps"], report["seed"]) == ("stream", 2, 3)
    assert report["windows"] == 8
    assert {"encode latents", "denoise", "decode latents"} <= report["stage_seconds"].keys()


def test_the_slim_runtime_runs_a_generator_without_torch(random_bundle, subtitled, tmp_path):
    """Law 3, seen in sys.modules after a whole run."""
    code = (
        "import sys; from pathlib import Path; import clear_rt; from clear_rt.config import *\n"
        "config = RunConfig(bundle=Path(sys.argv[3]), engine='onnx', composite=CompositeConfig(fill='model'),"
        " denoise=DenoiseConfig(steps=2))\n"
        "assert clear_rt.remove(sys.argv[1], sys.argv[2], config).windows > 0\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'peft', 'modelopt', 'safetensors', 'onnx', 'triton'}"
        " & set(sys.modules)))"
    )
    arguments = [str(subtitled), str(tmp_path / "out.mp4"), str(random_bundle)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_remove_is_the_same_from_python(random_bundle, subtitled, tmp_path):
    """`engine="cuda"` on a machine without a GPU: the torch model behind the same call."""
    config = RunConfig(
        bundle=random_bundle, engine="cuda", region=RegionConfig(mode="fixed", box=Box(200, 330, 96, 32)),
        composite=CompositeConfig(fill="model", mode="paste"),
        denoise=DenoiseConfig(steps=2, policy="stream"),
    )  # fmt: skip
    report = remove(subtitled, tmp_path / "out.mp4", config)
    assert (report.engine, report.frames) == ("cuda", 100)
