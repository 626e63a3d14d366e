"""The whole path with an exported bundle: a real clip in, a real clip out, two engines that agree."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest

pytest.importorskip("torch", reason="one engine is torch: pip install '.[export]'")
pytest.importorskip("safetensors", reason="weights are safetensors: pip install '.[export]'")

from clear_rt import frames
from clear_rt.bundle import open_bundle
from clear_rt.composite import HOLE_ALPHA
from clear_rt.config import CompositeConfig, DenoiseConfig, RegionConfig, RunConfig, WriteConfig
from clear_rt.generate import CropGenerator
from clear_rt.matte_planes import alpha_for, luma_alpha
from clear_rt.remover import Remover, remove
from clear_rt.report import Stopwatch
from clear_rt.runtime.device import gpu_count
from clear_rt.runtime.engine import open_engine
from clear_rt.shapes import Box, Size, plane_box
from clear_rt.side import HostSide, side_of

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


@pytest.fixture(scope="module")
def gray_clip(subtitled, tmp_path_factory):
    """The luma of 13 frames with a caption as full-range gray in 4:2:0: its RGB are its codes, which nothing rounds."""
    path = tmp_path_factory.mktemp("clips") / "gray.mkv"
    with closing(frames.read(frames.probe(subtitled))) as pictures, av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 720, 404, "yuv420p"
        stream.codec_context.color_range = 2
        for number, frame in enumerate(islice(pictures, 30, 43)):
            gray = frame.edited()
            for plane in gray.planes[1:]:
                plane.samples[...] = 128
            picture = gray.picture
            picture.pts, picture.time_base, picture.color_range = number, Fraction(1, 25), 2
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.skipif(gpu_count() > 0, reason="on a GPU the engine computes in bfloat16, which agrees less")
@pytest.mark.parametrize("mode", ["paste", "membrane"])
def test_pictures_that_stay_on_the_engine_s_side_are_those_of_the_host(random_bundle, gray_clip, tmp_path, mode):
    """Both engines are shown the same numbers, so what they generate agrees as it does crop by crop.

    In mode paste a sample then is the same code or the next: rounding keeps the mean of differences, as content falls
    anywhere between two codes. In mode membrane another solver moves what is in the hole.
    """
    pytest.importorskip("triton", reason="the engine's side imports the kernels: pip install '.[cuda]'")
    from clear_rt.runtime.cuda.engine import CudaEngine

    bundle = open_bundle(random_bundle)
    assert not bundle.generator.draft
    config = RunConfig(
        # Not on whole cells, and within the caption, so that the matte reaches its edges.
        region=RegionConfig(mode="fixed", boxes=(Box(201, 331, 95, 33),)),
        composite=CompositeConfig(fill="model", mode=mode),
        denoise=DenoiseConfig(steps=2),
        write=WriteConfig(lossless=True),
    )
    results, mattes = [], []
    for engine, is_host in ((open_engine("onnx", bundle), True), (CudaEngine(bundle, by_kernels=False), False)):
        assert isinstance(side_of(engine), HostSide) == is_host
        target, seen = tmp_path / f"{engine.name}.mkv", []
        report = Remover(config, bundle=bundle, engine=engine)(gray_clip, target, observe=seen.append)
        assert (report.frames, report.frames_changed, report.regions_scaled) == (13, 13, 0)
        results.append(list(frames.read(frames.probe(target))))
        mattes.append([one.matte for one in seen])
    np.testing.assert_array_equal(*mattes)
    (run,) = report.runs
    least = HOLE_ALPHA if mode == "membrane" else 1
    differences, squares = [], []
    sources = frames.read(frames.probe(gray_clip))
    for source, host, ours, matte in zip(sources, *results, mattes[0], strict=True):
        alpha = luma_alpha(matte, Size(720, 404), run.box)
        for i, plane in enumerate(source.planes):
            share = alpha_for(alpha, run.box, plane.step_x_px, plane.step_y_px, spread=i > 0)
            may = np.zeros(plane.samples.shape, bool)
            may[plane_box(run.box, plane.step_x_px, plane.step_y_px).slices] = share >= least
            assert may.any()
            for result in (host, ours):
                np.testing.assert_array_equal(result.planes[i].samples[~may], plane.samples[~may])
            first, second = (result.planes[i].samples[may].astype(float) for result in (host, ours))
            differences.append(np.abs(first - second))
            squares.append(np.square(first))
        assert (ours.planes[0].samples != source.planes[0].samples).any()
    if mode == "paste":
        differences = np.concatenate(differences)
        assert differences.max() <= 1
        assert differences.mean() <= AGREE * np.sqrt(np.concatenate(squares).mean())


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
        bundle=random_bundle, engine="cuda", region=RegionConfig(mode="fixed", boxes=(Box(200, 330, 96, 32),)),
        composite=CompositeConfig(fill="model", mode="paste"),
        denoise=DenoiseConfig(steps=2, policy="stream"),
    )  # fmt: skip
    report = remove(subtitled, tmp_path / "out.mp4", config)
    assert (report.engine, report.frames) == ("cuda", 100)
