"""Who takes the engine `trt` and when, what is said where it does not fit, and what `clear-rt info` tells of it."""

import json
import logging
import shutil

import pytest

from clear_rt.bundle import EMBEDDED, open_bundle
from clear_rt.engine_facts import engine_facts
from clear_rt.errors import EngineError
from clear_rt.inventory import inventory
from clear_rt.plans import PLAN_ROLES
from clear_rt.runtime import engine as choice
from clear_rt.runtime.device import Gpu
from clear_rt.runtime.engine import chosen_engine, open_engine
from clear_rt.runtime.trt import engine as trt_engine
from clear_rt.runtime.trt_library import Library

GPU = Gpu("a GPU of this test", 89, 80 << 30, "13.0", "580.1")
LIBRARY = Library("tensorrt_rtx", "1.7.1.116", "13")
PLANS = {"library": "tensorrt_rtx", "version": LIBRARY.version, "cuda": "13", "capability": 89, "precision": "bf16"}


@pytest.fixture
def folder(tmp_path):
    """The embedded bundle with files that pass for engines, for one size."""
    target = shutil.copytree(EMBEDDED, tmp_path / "bundle")
    path = target / "manifest.json"
    manifest = json.loads(path.read_text())
    plan = {"file": "prior.onnx", "sha256": manifest["prior"]["sha256"]}
    files = {role: plan | {"activation_bytes": 1_000_000 * (1 + i)} for i, role in enumerate(PLAN_ROLES)}
    manifest["generator"] |= {"plans": PLANS | {"files": files}, "profiles": [[640, 144]]}
    manifest["engines"] = ["onnx", "trt"]
    path.write_text(json.dumps(manifest))
    return target


@pytest.fixture
def machine(monkeypatch):
    """machine(gpu, library): what is found on this machine."""

    def has(gpu, library):
        monkeypatch.setattr(choice, "first_gpu", lambda: gpu)
        monkeypatch.setattr(choice, "library_found", lambda: library)
        monkeypatch.setattr("clear_rt.engine_facts.first_gpu", lambda: gpu)

    return has


class Opened:
    name = "trt"

    def __init__(self, bundle):
        pass


def test_auto_takes_engines_that_fit_this_machine(folder, machine, monkeypatch):
    machine(GPU, LIBRARY)
    monkeypatch.setattr(trt_engine, "TrtEngine", Opened)
    bundle = open_bundle(folder)
    assert open_engine("auto", bundle).name == "trt"
    assert open_engine("trt", bundle).name == "trt"
    # Finding text alone needs no engine of TensorRT.
    assert chosen_engine("auto", bundle, generates=False) == "onnx"
    assert open_engine("auto", bundle, generates=False).name == "onnx"
    with pytest.raises(EngineError, match="--kernels triton is for --engine cuda, and trt would run"):
        open_engine("auto", bundle, kernels="triton")


@pytest.mark.parametrize(
    ("gpu", "library", "said"),
    [
        (None, LIBRARY, "they need a GPU sm_89, there is none here"),
        (Gpu("NVIDIA H100", 90, 80 << 30, "13.0", "580.1"), LIBRARY, r"for sm_89, this GPU is sm_90 \(NVIDIA H100\)"),
        (GPU, None, "they need tensorrt_rtx 1.7.1.116, which is not installed"),
        (GPU, Library("tensorrt_rtx", "1.8.0", "13"), "by tensorrt_rtx 1.7.1.116, here is tensorrt_rtx 1.8.0"),
        (GPU, Library("tensorrt", "11.4.0.106", "13"), "by tensorrt_rtx 1.7.1.116, here is tensorrt 11.4.0.106"),
        (None, None, "there is none here and they need tensorrt_rtx"),
    ],
)
def test_what_differs_is_named_and_auto_takes_the_next_engine(folder, machine, gpu, library, said):
    machine(gpu, library)
    bundle = open_bundle(folder)
    with pytest.raises(EngineError, match=rf"--engine trt: bundle clear-tiny has engines, but .*{said}.*--engine onnx"):
        open_engine("trt", bundle)
    assert open_engine("auto", bundle).name == "onnx"
    assert engine_facts(bundle)["trt"].startswith("does not run here: ")
    assert engine_facts(bundle)["auto"] == "onnx"


def test_auto_says_why_the_only_engine_of_a_bundle_does_not_run(folder, machine):
    machine(None, LIBRARY)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"engines": ["trt"]}))
    with pytest.raises(EngineError, match=r"--engine auto: .* holds trt only, .*trt does not run here: they need"):
        open_engine("auto", open_bundle(folder))


def test_a_library_that_refuses_engines_after_all_is_told_and_auto_goes_on(folder, machine, monkeypatch, caplog):
    class Refused:
        def __init__(self, bundle):
            raise EngineError("TensorRT-RTX 1.7 does not take this GPU")

    machine(GPU, LIBRARY)
    monkeypatch.setattr(trt_engine, "TrtEngine", Refused)
    bundle = open_bundle(folder)
    with caplog.at_level(logging.WARNING):
        assert open_engine("auto", bundle).name == "onnx"
    assert "--engine auto takes onnx: TensorRT-RTX 1.7 does not take this GPU" in caplog.text
    with pytest.raises(EngineError, match="does not take this GPU"):
        open_engine("trt", bundle)


def test_info_says_what_runs_where_and_what_a_profile_takes(folder, machine):
    machine(GPU, LIBRARY)
    found = inventory(None, folder)["engines"]
    assert found["onnx"] == "runs, on the CPU"
    assert found["trt"] == (
        "runs, on a GPU of this test; latents and pictures on the CPU (the bundle holds no kernels of ours, "
        "as it was built without Triton)"
    )
    assert found["cuda"] == "the bundle holds nothing for it"
    assert found["auto"] == "trt"
    bundle = open_bundle(folder)
    weights = len(PLAN_ROLES) * (folder / "prior.onnx").stat().st_size
    roles = [role for role in PLAN_ROLES if role != "prior"]
    most = max(bundle.generator.plans.plans[role].activation_bytes for role in roles)
    activations = most + bundle.generator.plans.plans["prior"].activation_bytes
    said = found["trt memory 640x144"]
    assert said.startswith(f"{weights / 1e6:.0f} MB of weights, {activations / 1e6:.0f} MB of activations, ")
    assert said.endswith(" MB of arrays of one run")


def test_the_embedded_bundle_runs_on_the_cpu():
    found = inventory(None, None)["engines"]
    assert (found["onnx"], found["auto"]) == ("runs, on the CPU", "onnx")
    assert found["trt"] == found["cuda"] == "the bundle holds nothing for it"
