"""A folder of weights: every layout is found, every absence and every bad description is one sentence."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")
pytest.importorskip("safetensors.torch", reason="weights are safetensors: pip install '.[cuda]'")

from clear_rt.errors import ConfigError, WeightsError  # noqa: E402
from clear_rt.models.config_json import as_json, from_json  # noqa: E402
from clear_rt.models.dit_config import WAN_FUN_CONTROL, DitConfig  # noqa: E402
from clear_rt.models.vae_config import WAN_VAE, VaeConfig  # noqa: E402
from clear_rt.models.weights_folder import find_weights  # noqa: E402

CONFIG = DitConfig(width=24, heads=2, layers=3, ffn_width=40, text_width=12, freq_width=8, image_width=10)
VAE_CONFIG = VaeConfig(base_width=4)


def one_sentence(caught, *parts):
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def folder(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_a_wan_folder_is_found_with_the_sizes_of_wan(tmp_path):
    names = ["diffusion_pytorch_model-00001-of-00002.safetensors", "diffusion_pytorch_model-00002-of-00002.safetensors"]
    folder(tmp_path, *names, "Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/tokenizer.json")
    found = find_weights(tmp_path)
    assert found.dit == tuple(tmp_path / name for name in names)
    assert found.vae == tmp_path / "Wan2.1_VAE.pth"
    assert found.prompt is None
    assert found.text_encoder == tmp_path / "models_t5_umt5-xxl-enc-bf16.pth"
    assert found.tokenizer == tmp_path / "google/umt5-xxl"
    assert (found.dit_config, found.vae_config) == (WAN_FUN_CONTROL, WAN_VAE)
    released = {"_class_name": "WanModel", "dim": 1536, "in_dim": 48}
    (tmp_path / "config.json").write_text(json.dumps(released))
    assert find_weights(tmp_path) == found


def test_a_diffusers_folder_is_found(tmp_path):
    folder(tmp_path, "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")
    found = find_weights(tmp_path)
    assert found.dit == (tmp_path / "transformer/diffusion_pytorch_model.safetensors",)
    assert found.vae == tmp_path / "vae/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("vae_name", ["Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors", "vae.safetensors"])
def test_a_folder_of_ours_says_its_sizes(tmp_path, vae_name):
    folder(tmp_path, "diffusion_pytorch_model.safetensors", vae_name, "prompt.safetensors")
    described = {"dit": as_json(CONFIG), "vae": as_json(VAE_CONFIG)}
    (tmp_path / "config.json").write_text(json.dumps(described))
    found = find_weights(tmp_path)
    assert found.vae == tmp_path / vae_name
    assert found.prompt == tmp_path / "prompt.safetensors"
    assert (found.dit_config, found.vae_config) == (CONFIG, VAE_CONFIG)


def test_what_a_folder_lacks_is_said(tmp_path):
    with pytest.raises(WeightsError) as caught:
        find_weights(tmp_path / "none")
    one_sentence(caught, "expected a folder of weights")
    with pytest.raises(WeightsError) as caught:
        find_weights(folder(tmp_path, "Wan2.1_VAE.pth"))
    one_sentence(caught, "diffusion_pytorch_model*.safetensors", "transformer/")
    (tmp_path / "Wan2.1_VAE.pth").unlink()
    with pytest.raises(WeightsError) as caught:
        find_weights(folder(tmp_path, "diffusion_pytorch_model.safetensors"))
    one_sentence(caught, "Wan2.1_VAE.pth, Wan2.1_VAE.safetensors, vae.safetensors")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("not json", "JSON"),
        ([], "list"),
        ({"dit": {}}, "found dit"),
        ({"dit": {"depth": 3}, "vae": {}}, "unknown: depth"),
        ({"dit": as_json(CONFIG) | {"width": "24"}, "vae": as_json(VAE_CONFIG)}, "DitConfig.width"),
        ({"dit": as_json(CONFIG) | {"width": True}, "vae": as_json(VAE_CONFIG)}, "DitConfig.width"),
        ({"dit": as_json(CONFIG) | {"heads": 7}, "vae": as_json(VAE_CONFIG)}, "7 heads"),
        ({"dit": as_json(CONFIG) | {"occlusion": 0}, "vae": as_json(VAE_CONFIG)}, "DitConfig.occlusion"),
        ({"dit": as_json(CONFIG), "vae": as_json(VAE_CONFIG) | {"latent_means": [1.0, "x"]}}, "latent_means[1]"),
        ({"dit": as_json(CONFIG), "vae": as_json(VAE_CONFIG) | {"multipliers": 4}}, "VaeConfig.multipliers"),
        ({"dit": as_json(CONFIG), "vae": 3}, "VaeConfig must be a JSON object"),
    ],
)
def test_a_config_that_describes_no_model_is_refused(tmp_path, change, named):
    folder(tmp_path, "diffusion_pytorch_model.safetensors", "Wan2.1_VAE.pth")
    text = change if isinstance(change, str) else json.dumps(change)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        find_weights(tmp_path)
    assert named in str(caught.value)
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize("config", [CONFIG, WAN_FUN_CONTROL, VAE_CONFIG, WAN_VAE])
def test_a_config_survives_json(config):
    assert from_json(type(config), json.loads(json.dumps(as_json(config)))) == config
    missing = as_json(config)
    missing.popitem()
    with pytest.raises(ConfigError, match="missing"):
        from_json(type(config), missing)
