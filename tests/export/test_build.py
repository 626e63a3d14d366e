"""`clear-rt build-engine`: engines for a GPU that is not there, a bundle that knows what it was made of."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")
if find_spec("tensorrt_rtx") is None:
    pytest.skip("engines are built by TensorRT-RTX: pip install '.[rtx]'", allow_module_level=True)

from safetensors.torch import load_file  # noqa: E402

from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.cli import main  # noqa: E402
from clear_rt.errors import BundleError, EngineError, ExitStatus, OutputError  # noqa: E402
from clear_rt.export import verify  # noqa: E402
from clear_rt.export.build import build_bundle  # noqa: E402
from clear_rt.export.build_config import BuildConfig  # noqa: E402
from clear_rt.export.config import ExportConfig  # noqa: E402
from clear_rt.export.scales import Scales, write_scales  # noqa: E402
from clear_rt.models.fp8_policy import calibrated  # noqa: E402
from clear_rt.models.weights_folder import find_weights  # noqa: E402
from clear_rt.plans import PLAN_ROLES  # noqa: E402
from clear_rt.runtime.device import Gpu  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402
from clear_rt.shapes import Size  # noqa: E402

SIZES = (Size(128, 64), Size(96, 48))
FIELDS = {
    "engines": ("trt", "cuda"),
    "precision": "bf16",
    "profiles": SIZES,
    "window_latents": 3,
    "overlap_latents": 1,
    "max_pixels": 128 * 64,
}
EVERYTHING = ExportConfig(**FIELDS)
SM_89 = BuildConfig(target="sm_89")


def command(*arguments):
    line = [sys.executable, "-m", "clear_rt", "build-engine", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(random_weights, tmp_path_factory):
    """For all engines, by the command line, in a process of its own whose sets have another order; and its manifest."""
    target = tmp_path_factory.mktemp("built") / "bundle"
    sizes = [option for size in SIZES for option in ("--profile", f"{size.width_px}x{size.height_px}x9")]
    options = ["--engine", "trt,cuda", "--target", "sm_89", "--overlap", 1, *sizes]
    done = command("--weights", random_weights, "-o", target, *options)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((target / "manifest.json").read_text())
    verified = manifest["verified"]
    assert done.stdout.splitlines()[1:] == [
        f"trt: {verified['trt']}",
        f"cuda: {verified['cuda']}",
    ]
    return target, manifest


def test_the_bundle_holds_every_engine_for_every_profile(built):
    target, _ = built
    spec = open_bundle(target).generator
    assert (spec.profiles, spec.latents_fixed, spec.window_latents) == (SIZES, True, 3)
    plans = spec.plans
    assert plans.plans.keys() == {*PLAN_ROLES}
    assert (plans.capability, plans.precision, plans.library, plans.cuda) == (89, "bf16", "tensorrt_rtx", "13")
    assert all(plan.path.stat().st_size > 10_000 for plan in plans.plans.values())
    assert all(plan.activation_bytes > 0 for plan in plans.plans.values())
    assert spec.kernels.cubins.keys() == {89}
    assert {"window_step-bf16", "occlusion_attention-bf16-d128-bias"} <= spec.kernels.cubins[89].keys()
    assert {path.name for path in target.parent.iterdir()} == {"bundle"}


def test_what_can_run_here_was_verified_and_what_cannot_is_said_to_be_not(built):
    verified = built[1]["verified"]
    assert verified["cuda"] == "PSNR 99.0 dB, velocity off by 0.0e+00"
    assert verified["trt"] == "unverified: they need a GPU sm_89, there is none here"


def test_weights_are_the_same_bytes_in_every_run(built, random_bundle):
    for name in ("dit.safetensors", "vae.safetensors"):
        assert (built[0] / name).read_bytes() == (random_bundle / name).read_bytes()


_STEP = """
import sys
from pathlib import Path
from clear_rt.export.checked import checked_weights
from clear_rt.export.config import ExportConfig
from clear_rt.export.networks import load_networks
from clear_rt.export.prompt import prompt_for
from clear_rt.export.steps import step_tables
from clear_rt.export.stored import save_graph
from clear_rt.export.to_onnx import step_graph
checked = checked_weights(Path(sys.argv[1]), ExportConfig())
tables = step_tables(ExportConfig())
networks = load_networks(checked, prompt_for(checked.found).embedding, tables.timesteps)
save_graph(step_graph(networks.served), Path(sys.argv[2]))
"""


def test_graphs_are_the_same_bytes_in_every_process(random_weights, random_bundle, tmp_path):
    """Sets have another order in every process."""
    path = tmp_path / "step.onnx"
    subprocess.run([sys.executable, "-c", _STEP, random_weights, path], check=True)
    assert path.read_bytes() == (random_bundle / "step.onnx").read_bytes()


def test_the_same_again_is_a_bundle_that_is_left_alone(built, random_weights):
    target, manifest = built
    before = {path.name: path.stat().st_mtime_ns for path in target.iterdir()}
    found = build_bundle(str(random_weights), target, EVERYTHING, SM_89)
    assert found.was_there
    assert found.manifest == manifest
    assert {path.name: path.stat().st_mtime_ns for path in target.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "target", "field"),
    [
        ({"steps": 4}, "sm_89", r"steps \(5 of .* there, 4 of .* asked for\)"),
        ({"profiles": SIZES[:1]}, "sm_89", "shapes"),
        ({"precision": "fp16"}, "sm_89", "precision"),
        ({}, "sm_80", r"gpu \(sm_89 there, sm_80 asked for\)"),
    ],
)
def test_another_is_refused_with_what_differs(built, random_weights, options, target, field):
    config = ExportConfig(**{**FIELDS, **options})
    with pytest.raises(OutputError, match=rf"made of something else: {field}.*give --rebuild") as raised:
        build_bundle(str(random_weights), built[0], config, BuildConfig(target=target))
    assert "\n" not in str(raised.value)


def test_a_bundle_without_a_key_is_not_taken_for_the_same(built, random_weights, tmp_path):
    copy = shutil.copytree(built[0], tmp_path / "bundle")
    manifest = {name: value for name, value in built[1].items() if name != "key"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OutputError, match="does not say what it was made of"):
        build_bundle(str(random_weights), copy, EVERYTHING, SM_89)


@pytest.fixture(scope="module")
def small(random_weights, tmp_path_factory):
    """A bundle that is made in a second, and how."""
    target, config = tmp_path_factory.mktemp("small") / "bundle", ExportConfig(engines=("cuda",))
    assert not build_bundle(str(random_weights), target, config, BuildConfig()).was_there
    return target, config


def lose(bundle):
    (bundle / "dit.safetensors").unlink()


def damage(bundle):
    path = bundle / "dit.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def age(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"format": manifest["format"] - 1}))


def forget(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["verified"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("change", [lose, damage, age, forget])
def test_a_bundle_that_cannot_be_used_or_was_not_verified_is_built_again(small, random_weights, tmp_path, change):
    copy = shutil.copytree(small[0], tmp_path / "bundle")
    change(copy)
    found = build_bundle(str(random_weights), copy, small[1], BuildConfig())
    assert not found.was_there
    assert found.manifest["verified"]["cuda"].startswith("PSNR 99.0 dB")
    assert open_bundle(copy).engines == ("cuda",)
    assert build_bundle(str(random_weights), copy, small[1], BuildConfig()).was_there


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"format": "1", "file": "' + 5000 * "a" + '"}', "null"])
def test_a_manifest_that_is_none_is_a_folder_of_something_else(random_weights, tmp_path, content):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text(content)
    with pytest.raises(OutputError, match=r"holds manifest\.json, which is none of a bundle's files"):
        build_bundle(str(random_weights), tmp_path / "bundle", ExportConfig(engines=("cuda",)), BuildConfig())


def test_engines_for_a_gpu_that_is_not_the_one_here_stay_unverified(built, random_weights, monkeypatch):
    monkeypatch.setattr(verify, "first_gpu", lambda: Gpu("NVIDIA H100", 90, 80 << 30, "13.0", "580.1"))
    check = verify.Check(None, ExportConfig(**{**FIELDS, "engines": ("trt",)}), find_weights(random_weights))
    assert check.bundle(open_bundle(built[0]), None) == {
        "trt": "unverified: they were built for sm_89, this GPU is sm_90 (NVIDIA H100)"
    }


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--precision", "fp8", "--scales", "none.json"], ExitStatus.USAGE, "--scales none.json cannot be read"),
        (["--precision", "fp8", "--scales", "/"], ExitStatus.USAGE, "--scales / cannot be read (Is a directory)"),
        (["--precision", "fp8", "--calibrate", "none.mp4"], ExitStatus.USAGE, "--calibrate none.mp4 cannot be read"),
        (["--prompt-file", "none"], ExitStatus.USAGE, "--prompt-file none cannot be read"),
        (["--prior", "none"], ExitStatus.BUNDLE, "none is no bundle"),
        (["--lora", "none.safetensors"], ExitStatus.WEIGHTS, "none.safetensors"),
    ],
)
def test_files_that_are_not_there(capfd, random_weights, tmp_path, options, status, said, dry):
    line = ["--weights", random_weights, "-o", tmp_path / "b", "--engine", "cuda", *options, *dry]
    assert main(["build-engine", *map(str, line)]) == status
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert not [*tmp_path.iterdir()]


def test_a_dry_run_needs_no_name_of_a_gpu(random_weights, tmp_path):
    options = ["--weights", random_weights, "-o", tmp_path / "b", "--profile", "live33", "--dry-run", "--json"]
    said = json.loads(command(*options).stdout)
    assert "windows of 9 latents, 2 shared, 1280x192" in said["made of"]["shapes"]
    assert said["bundle"]["there"] == "nothing"


def test_fp8_goes_through_every_engine_and_its_scales_can_be_given_again(random_weights, tmp_path):
    dit = find_weights(random_weights).dit_config
    write_scales(Scales(dict.fromkeys(calibrated(dit), 6.0)), tmp_path / "scales.json")
    config = ExportConfig(
        engines=("cuda",),
        precision="fp8",
        fp8_attention=True,
        scales=tmp_path / "scales.json",
        window_latents=3,
        overlap_latents=1,
    )
    found = build_bundle(str(random_weights), tmp_path / "bundle", config, BuildConfig())
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.generator.precision == "fp8"
    # Made up scales lose more than calibrated ones, but no network's worth.
    assert 34 <= float(found.manifest["verified"]["cuda"].split()[1]) < 90
    assert (tmp_path / "bundle" / "scales.json").read_bytes() == (tmp_path / "scales.json").read_bytes()
    stored = load_file(bundle.generator.weights["dit"])
    assert stored["blocks.1.ffn.0.weight"].dtype == torch.float8_e4m3fn
    assert stored["blocks.0.ffn.0.weight"].dtype == torch.float32
    assert "blocks.1.self_attn.attended.2.scale" in stored


def test_engines_for_another_gpu_are_not_opened(built):
    with pytest.raises(EngineError, match=r"they need a GPU sm_89, there is none here|built for sm_89"):
        open_engine("trt", open_bundle(built[0]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plans: plans.update(library="onnx"), "'library' must be one of tensorrt, tensorrt_rtx"),
        (lambda plans: plans.update(capability="89"), "'capability' must be an integer"),
        (lambda plans: plans["files"].pop("prior"), "lacks 'prior'"),
        (lambda plans: plans["files"]["step"].update(sha256="0" * 64), r"step\.plan does not match its manifest"),
        (lambda plans: plans["files"]["step"].update(file="../step.plan"), "expected a plain file name"),
        (lambda plans: plans.update(precision="int8"), "'precision' must be one of bf16, fp16, fp8"),
    ],
)
def test_a_manifest_that_was_altered_is_refused(built, tmp_path, change, said):
    copy = shutil.copytree(built[0], tmp_path / "bundle")
    manifest = json.loads(json.dumps(built[1]))
    change(manifest["generator"]["plans"])
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=said):
        open_bundle(copy)


def test_a_dry_run_says_it_all_and_writes_nothing(random_weights, tmp_path):
    options = ["--weights", random_weights, "-o", tmp_path / "b", "--profile", "720p-band192", "--target", "sm_89"]
    done = command(*options, "--engine", "trt,onnx", "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["machine"]["built for"] == "sm_89"
    assert said["made of"]["shapes"] == "windows of 21 latents, 4 shared, 1280x192"
    assert said["made of"]["gpu"] == "sm_89"
    assert said["bundle"]["trt engines, GB"] > 0
    assert said["memory while running, GB"]["1280x192"] > 0
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--profile", "8k", "--target", "sm_89"], ExitStatus.USAGE, "--profile must be one of 480p, 720p,"),
        (["--profile", "1280x200", "--target", "sm_89"], ExitStatus.USAGE, "multiples of 16 px"),
        (["--target", "sm_89"], ExitStatus.USAGE, "--engine trt needs the shapes to build for"),
        (["--profile", "720p", "--target", "sm_89", "--precision", "fp16"], ExitStatus.USAGE, "65504 tokens at most"),
        (
            ["--profile", "480p", "--target", "sm_80", "--precision", "fp8"],
            ExitStatus.USAGE,
            "needs clips with subtitles",
        ),
        (
            ["--profile", "480p", "--target", "sm_80", "--precision", "fp8", "--scales", "s.json"],
            ExitStatus.USAGE,
            "sm_80 has none (an A100 has int8",
        ),
        (["--profile", "480p", "--target", "sm_90"], ExitStatus.ENGINE, "not for sm_90, and there is no GPU here"),
        (["--profile", "480p", "--target", "sm_89", "--lora-scale", "2"], ExitStatus.USAGE, "got 1 for 0 checkpoints"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(capfd, random_weights, tmp_path, options, status, said):
    line = ["--weights", random_weights, "-o", tmp_path / "b", *options]
    assert main(["build-engine", *map(str, line)]) == status
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_weights_that_are_not_there(tmp_path, options):
    arguments = ["--weights", tmp_path / "none", "-o", tmp_path / "b", "--engine", "cuda", *options]
    done = command(*arguments)
    assert done.returncode == ExitStatus.WEIGHTS
    assert done.stderr.count("\n") == 1
    assert not [*tmp_path.iterdir()]
