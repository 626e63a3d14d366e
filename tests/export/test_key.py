"""What decides a bundle is in its key, and nothing else is."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("onnx", reason="the exporter needs onnx: pip install '.[export]'")

from clear_rt.export.checked import checked_weights
from clear_rt.export.config import ExportConfig
from clear_rt.export.key import bundle_key, differing, short
from clear_rt.export.plans import PlanConfig
from clear_rt.export.prompt import P_TRAIN
from clear_rt.runtime.trt_library import Library
from clear_rt.shapes import Size

CONFIG = ExportConfig(engines=("cuda",))
RTX = PlanConfig(library=Library("tensorrt_rtx", "1.7.1.116", "13"), capability=89, is_here=False)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def key(random_weights):
    def made(config=CONFIG, plans=None, weights=random_weights):
        return bundle_key(checked_weights(weights, config), config, plans)

    return made


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"steps": 4}, "steps"),
        ({"shift": 5.0000001}, "steps"),
        ({"timesteps": "bf16"}, "steps"),
        ({"window_latents": 9}, "shapes"),
        ({"max_pixels": 1024}, "shapes"),
        ({"profiles": (Size(64, 64),)}, "shapes"),
        ({"draft": True}, "shapes"),
        ({"store": "fp16"}, "precision"),
        ({"prompt": "Another."}, "prompt"),
    ],
)
def test_every_option_that_changes_a_bundle_shows(key, change, field):
    assert differing(key(), key(replace(CONFIG, **change))) == [field]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"capability": 80}, "gpu"),
        ({"library": Library("tensorrt_rtx", "1.7.2", "13")}, "library"),
        ({"library": Library("tensorrt_rtx", "1.7.1.116", "12")}, "cuda"),
        ({"level": 2}, "builder"),
    ],
)
def test_whom_engines_are_for_shows(key, change, field):
    assert differing(key(plans=RTX), key(plans=replace(RTX, **change))) == [field]


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"prompt": "train"}, {"prompt": P_TRAIN}])
def test_what_changes_no_byte_does_not_show(key, change):
    assert differing(key(), key(replace(CONFIG, **change))) == []


def test_another_text_encoder_is_another_prompt(key, random_weights, tmp_path):
    folder = shutil.copytree(random_weights, tmp_path / "weights")
    (folder / "prompt.safetensors").unlink()
    encoder = folder / "models_t5_umt5-xxl-enc-bf16.pth"
    (folder / "google" / "umt5-xxl").mkdir(parents=True)
    encoder.write_bytes(b"one")
    first = key(weights=folder)
    encoder.write_bytes(b"another")
    assert differing(first, key(weights=folder)) == ["prompt"]
    (folder / "google" / "umt5-xxl" / "tokenizer.json").write_text("{}")
    assert first["prompt"] != key(weights=folder)["prompt"]


def test_weights_show(key, random_weights, tmp_path):
    folder = shutil.copytree(random_weights, tmp_path / "weights")
    path = folder / "vae.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert differing(key(), key(weights=folder)) == ["weights"]


def test_hashes_are_short_for_people():
    assert short(f"{'0a' * 32} x 0.5, {'f' * 64}") == f"{'0a' * 6} x 0.5, {'f' * 12}"
    assert short(None) == "None"
