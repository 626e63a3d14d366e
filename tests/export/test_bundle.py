"""`clear-rt export` as people call it: a folder of weights to a bundle that opens, or one sentence and nothing."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("safetensors", reason="weights are safetensors: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")

from safetensors.torch import load_file, save_file  # noqa: E402

from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.errors import ConfigError, ExitStatus, WeightsError  # noqa: E402
from clear_rt.export.bundle import export  # noqa: E402
from clear_rt.export.config import ExportConfig  # noqa: E402
from clear_rt.export.prompt import P_TRAIN  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402


def command(*arguments: object, limit_bytes: int | None = None) -> subprocess.Popen[str]:
    def confine() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.Popen(
        [sys.executable, "-m", "clear_rt", "export", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=confine,
    )


@pytest.fixture
def copy(random_weights, tmp_path):
    return shutil.copytree(random_weights, tmp_path / "weights")


def test_the_manifest_says_what_is_in_it(random_bundle, random_weights):
    bundle = open_bundle(random_bundle)
    spec = bundle.generator
    assert bundle.engines == ("onnx", "cuda")
    assert (spec.window_latents, spec.overlap_latents, spec.latents_fixed) == (5, 2, False)
    assert (spec.latent_channels, spec.latent_px, spec.latent_frames, spec.multiple_px) == (16, 8, 4, 16)
    assert (spec.prompt, spec.precision, spec.default_steps) == (P_TRAIN, "fp32", 5)
    assert sorted(spec.step_tables) == [2, 3, 4, 5, 10, 20]
    assert bundle.built["torch"] == torch.__version__
    assert len(bundle.built["commit"]) >= 7
    weights = [load_file(path) for path in spec.weights.values()]
    assert spec.parameters == sum(tensor.numel() for part in weights for tensor in part.values())
    named = {p.name for p in random_bundle.iterdir()} - {"manifest.json"}
    assert named == {
        "prior.onnx", "dit.safetensors", "vae.safetensors",
        *(f"{role}.onnx" for role in spec.graphs),
    }  # fmt: skip


def test_one_engine_alone(random_weights, tmp_path):
    export(random_weights, tmp_path / "weights only", ExportConfig(engines=("cuda",)))
    bundle = open_bundle(tmp_path / "weights only")
    assert bundle.generator.graphs == {}
    assert not [*(tmp_path / "weights only").glob("step*")]
    assert open_engine("auto", bundle).name == "cuda"


def test_diffusers_names_make_the_same_bundle(random_weights, random_bundle, tmp_path):
    """Renamed weights, bit for bit the same tensors in the bundle."""
    from clear_rt.models.dit_names import diffusers_names
    from clear_rt.models.vae_names import diffusers_names as vae_names
    from clear_rt.models.weights_folder import find_weights

    found = find_weights(random_weights)
    state, vae = load_file(found.dit[0]), load_file(found.vae)
    for part, names, tensors in (
        ("transformer", diffusers_names(found.dit_config), state),
        ("vae", vae_names(found.vae_config), vae),
    ):
        (tmp_path / "theirs" / part).mkdir(parents=True)
        save_file(
            {names[name]: tensor for name, tensor in tensors.items() if name in names},
            tmp_path / "theirs" / part / "diffusion_pytorch_model.safetensors",
        )
    for name in ("config.json", "prompt.safetensors"):
        shutil.copy(random_weights / name, tmp_path / "theirs")
    export(tmp_path / "theirs", tmp_path / "bundle", ExportConfig(engines=("cuda",)))
    for part in ("dit", "vae"):
        ours, theirs = (load_file(folder / f"{part}.safetensors") for folder in (random_bundle, tmp_path / "bundle"))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_command_builds_and_info_reads(random_weights, tmp_path):
    arguments = ("--weights", random_weights, "--engine", "cuda", "--window", 9, "--overlap", 3, "--steps", 7)
    target = tmp_path / "bundle"
    done = command(*arguments, "-o", target, "--json")
    out, err = done.communicate()
    assert (done.returncode, err) == (0, "")
    assert json.loads(out) == json.loads((target / "manifest.json").read_text())
    spec = open_bundle(target).generator
    assert (spec.window_latents, spec.overlap_latents, spec.default_steps) == (9, 3, 7)
    told = subprocess.run(
        [sys.executable, "-m", "clear_rt", "info", "--bundle", str(target), "--json"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "33 frames" in json.dumps(json.loads(told)["bundle"])


@pytest.mark.parametrize("engine", ["onnx", "cuda"])
def test_a_disk_that_fills_up_leaves_nothing(random_weights, tmp_path, engine):
    """The prior's 2.5 MB fit, what comes after does not."""
    smallest = {"onnx": 3_000_000, "cuda": 2_600_000}[engine]
    big = _grown(random_weights, tmp_path / "weights")
    target = tmp_path / "out" / "bundle"
    target.parent.mkdir()
    done = command("--weights", big, "--engine", engine, "-o", target, limit_bytes=smallest)
    _, err = done.communicate()
    assert done.returncode == ExitStatus.OUTPUT, err
    assert err.count("\n") == 1
    assert "could not be written" in err
    assert [*target.parent.iterdir()] == []


def _grown(weights: Path, target: Path) -> Path:
    """The same transformer with a wider feed-forward, so that it is larger than the prior."""
    from benchmarks.random_weights import write_random_weights
    from clear_rt.models.weights_folder import find_weights

    found = find_weights(weights)
    from dataclasses import replace

    write_random_weights(target, replace(found.dit_config, ffn_width=9000), found.vae_config, prompt_tokens=7)
    return target


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(random_weights, tmp_path, number):
    target = tmp_path / "out" / "bundle"
    target.parent.mkdir()
    running = command("--weights", random_weights, "--engine", "onnx", "-o", target)
    while not [*target.parent.glob(".bundle.partial-*/prior.onnx")]:
        assert running.poll() is None
        os.sched_yield()
    running.send_signal(number)
    _, err = running.communicate()
    assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], err
    assert [*target.parent.iterdir()] == []


def test_channels_must_agree(copy, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    config["vae"] |= {"latent_channels": 4, "latent_means": [0.0] * 4, "latent_stds": [1.0] * 4}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"of one latent size, found 16 and 4 channels"):
        export(copy, tmp_path / "bundle", ExportConfig())


def test_a_missing_tensor_is_named_and_nothing_is_left(copy, tmp_path):
    path = next(copy.glob("diffusion*"))
    state = load_file(path)
    del state["blocks.2.ffn.0.weight"]
    save_file(state, path)
    with pytest.raises(WeightsError, match=r"1 missing \(blocks\.2\.ffn\.0\.weight\)"):
        export(copy, tmp_path / "bundle", ExportConfig(engines=("cuda",)))
    assert not [p for p in tmp_path.iterdir() if p != copy]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engines": ("trt",)}, "--engine must be one of onnx, cuda, got trt"),
        ({"engines": ()}, "--engine must be one of onnx, cuda, got none"),
        ({"overlap_latents": 21}, "--overlap must be 0 or more and less than --window, got 21 of 21"),
        ({"overlap_latents": -1}, "--overlap must be 0 or more"),
        ({"shift": 0.0}, "--shift must be a positive number"),
        ({"lora_scale": float("nan")}, "--lora-scale must be a number"),
        ({"steps": 0}, "--steps must be 1 or more"),
        ({"max_pixels": 10}, "--max-pixels must be 256 or more"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ConfigError, match=said):
        ExportConfig(**options)
