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
from clear_rt.export.prompt import P_TRAIN, write_prompt  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402
from clear_rt.shapes import Size  # noqa: E402


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
        "prior.onnx", "outliner.onnx", "dit.safetensors", "vae.safetensors",
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
    target = tmp_path / "out" / "bundle"
    target.parent.mkdir()
    done = command("--weights", random_weights, "--engine", engine, "-o", target, limit_bytes=2_600_000)
    _, err = done.communicate()
    assert done.returncode == ExitStatus.OUTPUT, err
    assert err.count("\n") == 1
    assert "could not be written" in err
    assert [*target.parent.iterdir()] == []


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
        ({"engines": ("tensor",)}, "--engine must be one of onnx, cuda, trt, got tensor"),
        ({"engines": ()}, "--engine must be one of onnx, cuda, trt, got none"),
        ({"engines": ("trt",)}, "--engine trt needs the shapes to build for"),
        ({"engines": ("trt",), "profiles": (Size(64, 64),)}, "computes in bf16, fp16 or fp8, got --precision fp32"),
        ({"precision": "fp8"}, "--precision fp8 needs clips with subtitles to calibrate on, or scales"),
        ({"precision": "fp16", "profiles": (Size(1280, 720),)}, "windows of 65504 tokens at most.*got 75600"),
        ({"window_latents": 1025}, "--window must be 1 to 1024 latents"),
        ({"window_latents": 0}, "--window must be 1 to 1024 latents"),
        ({"overlap_latents": 21}, "--overlap must be 0 or more and less than --window, got 21 of 21"),
        ({"overlap_latents": -1}, "--overlap must be 0 or more"),
        ({"shift": 0.0}, "--shift must be 0.001 to 1000"),
        ({"shift": float("nan")}, "--shift must be 0.001 to 1000"),
        ({"adapters": ((Path("lora"), float("nan")),)}, "--lora-scale must be a number"),
        ({"steps": 0}, "--steps must be 1 to 1000"),
        ({"steps": 1001}, "--steps must be 1 to 1000"),
        ({"max_pixels": 10}, "--max-pixels must be 256 to 268435456"),
        ({"max_pixels": 1 << 29}, "--max-pixels must be 256 to 268435456"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ConfigError, match=said):
        ExportConfig(**options)


def _adapter(random_weights: Path, path: Path, rank: int = 4) -> dict[str, torch.Tensor]:
    """A LoRA of the queries and an occlusion head, as our own Stage II stores them."""
    from clear_rt.models.dit_names import is_occlusion

    base = load_file(next(random_weights.glob("diffusion*")))
    state = {name: tensor + 0.1 for name, tensor in base.items() if is_occlusion(name)}
    for i in range(3):
        state[f"blocks.{i}.self_attn.q.lora_A.default.weight"] = torch.randn(rank, 256) / 16
        state[f"blocks.{i}.self_attn.q.lora_B.default.weight"] = torch.randn(256, rank) / 2
    save_file(state, path)
    return state


def test_an_adapter_is_merged_and_recorded(random_weights, random_bundle, tmp_path):
    state = _adapter(random_weights, tmp_path / "lora.safetensors")
    config = ExportConfig(engines=("cuda",), adapters=((tmp_path / "lora.safetensors", 0.5),))
    export(random_weights, tmp_path / "bundle", config)
    bundle = open_bundle(tmp_path / "bundle")
    said = bundle.built["adapter"]
    assert said.startswith("lora.safetensors (sha256 ")
    assert said.endswith("scale 0.5, 3 linears of rank 4, occlusion head")
    before = load_file(random_bundle / "dit.safetensors")
    after = load_file(tmp_path / "bundle" / "dit.safetensors")
    for i in range(3):
        names = (f"blocks.{i}.self_attn.q.lora_{side}.default.weight" for side in "BA")
        up, down = (state[name] for name in names)
        moved = after[f"blocks.{i}.self_attn.qkv.weight"] - before[f"blocks.{i}.self_attn.qkv.weight"]
        torch.testing.assert_close(moved[:256], 0.5 * up @ down, atol=1e-6, rtol=1e-5)
        assert not moved[256:].any()
    assert torch.equal(after["occlusion_head.conv2.bias"], state["occlusion_head.conv2.bias"])


def test_what_headers_tell_is_told_before_anything_is_read(random_weights, tmp_path):
    """A text encoder takes minutes; the wrong base model shows in the names of its tensors."""
    stages: list[str] = []
    _adapter(random_weights, tmp_path / "lora.safetensors", rank=4)
    state = load_file(tmp_path / "lora.safetensors")
    state["blocks.0.self_attn.q.lora_A.default.weight"] = torch.zeros(4, 7)
    save_file(state, tmp_path / "lora.safetensors")
    with pytest.raises(WeightsError, match="wrongly shaped"):
        export(
            random_weights,
            tmp_path / "b",
            ExportConfig(adapters=((tmp_path / "lora.safetensors", 1.0),)),
            stages.append,
        )
    assert stages == []
    assert not [*tmp_path.glob(".b*")]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(copy, tmp_path, value):
    path = next(copy.glob("diffusion*"))
    state = load_file(path)
    state["blocks.1.ffn.0.weight"][3, 5] = value
    save_file(state, path)
    with pytest.raises(WeightsError, match=r"blocks\.1\.ffn\.0\.weight holds NaN or infinity"):
        export(copy, tmp_path / "bundle", ExportConfig(engines=("cuda",)))


def test_quantised_weights_are_refused(copy, tmp_path):
    path = next(copy.glob("diffusion*"))
    state = load_file(path)
    state["blocks.1.ffn.0.weight"] = state["blocks.1.ffn.0.weight"].to(torch.float8_e4m3fn)
    save_file(state, path)
    with pytest.raises(WeightsError, match="use the weights before quantization"):
        export(copy, tmp_path / "bundle", ExportConfig(engines=("cuda",)))


def test_a_prompt_of_several_lines_is_one_line_in_the_manifest(copy, tmp_path):
    write_prompt(copy / "prompt.safetensors", "first line\n  second", torch.randn(3, 20))
    export(copy, tmp_path / "bundle", ExportConfig(engines=("cuda",)))
    assert open_bundle(tmp_path / "bundle").generator.prompt == "first line second"


def test_graphs_say_nothing_about_the_machine_that_made_them(random_bundle, root):
    for path in random_bundle.glob("*.onnx"):
        data = path.read_bytes()
        assert str(root).encode() not in data
        assert b"site-packages" not in data


@pytest.mark.parametrize("package", ["onnxscript", "safetensors"])
def test_a_missing_package_is_one_sentence_at_once(random_weights, tmp_path, package):
    code = (
        "import sys, importlib.metadata as m; hidden = sys.argv.pop(); sys.modules[hidden] = None; known = m.version\n"
        "def version(name):\n"
        "    if name == hidden: raise m.PackageNotFoundError(name)\n"
        "    return known(name)\n"
        "m.version = version\n"
        "from clear_rt.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "export",
        "--weights",
        str(random_weights),
        "-o",
        str(tmp_path / "b"),
        package,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitStatus.USAGE, done.stderr
    assert done.stderr == (
        f"clear-rt: a bundle needs {package} to be made, which is not installed; run pip install 'clear-rt[export]'\n"
    )
