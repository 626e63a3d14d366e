"""Strict loading: every layout that weights come in gives the same model, every other file one sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")
safetensors = pytest.importorskip("safetensors.torch", reason="weights are safetensors: pip install '.[cuda]'")

from clear_rt.errors import ExitStatus, WeightsError  # noqa: E402
from clear_rt.models import dit_names, vae_names  # noqa: E402
from clear_rt.models.checkpoint import open_checkpoint  # noqa: E402
from clear_rt.models.dit import Dit  # noqa: E402
from clear_rt.models.dit_config import WAN_FUN_CONTROL, WAN_T2V, DitConfig  # noqa: E402
from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from clear_rt.models.weights import dit_state, load_dit, load_vae  # noqa: E402

CONFIG = DitConfig(width=24, heads=2, layers=3, ffn_width=40, text_width=12, freq_width=8, image_width=10)
VAE_CONFIG = VaeConfig(base_width=4)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return {name: torch.randn_like(t) for name, t in Dit(CONFIG).state_dict().items()}


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return {name: torch.randn_like(t) for name, t in Vae(VAE_CONFIG).state_dict().items()}


def renamed(state, names):
    return {names[name]: tensor for name, tensor in state.items()}


def written(path, state):
    safetensors.save_file(state, path)
    return path


def same(model, state, dtype=torch.float32):
    found = model.state_dict()
    assert found.keys() == state.keys()
    return all(found[name].dtype == dtype and torch.equal(found[name], t.to(dtype)) for name, t in state.items())


def one_sentence(caught, *parts):
    text = str(caught.value)
    assert caught.value.status == ExitStatus.WEIGHTS == 7
    assert len(text) < 900
    assert "\n" not in text
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_layout_gives_the_same_model(state, tmp_path, dtype):
    names = list(state)
    shards = [{n: state[n] for n in names[i::3]} for i in range(3)]
    files = {
        "plain": [written(tmp_path / "plain.safetensors", state)],
        "shards": [written(tmp_path / f"{i}.safetensors", part) for i, part in enumerate(shards)],
        "prefixed": [written(tmp_path / "p.safetensors", {f"module._orig_mod.{n}": t for n, t in state.items()})],
        "pipe": [written(tmp_path / "pipe.safetensors", {f"pipe.dit.{n}": t for n, t in state.items()})],
    }
    for nest in (None, "model_state", "model_state_dict", "dit_state_dict"):
        files[str(nest)] = [tmp_path / f"{nest}.pt"]
        torch.save(state if nest is None else {nest: state, "temporal_loss_weight": 0.1}, files[str(nest)][0])
    files["old torch"] = [tmp_path / "old.pth"]
    torch.save(state, files["old torch"][0], _use_new_zipfile_serialization=False)
    for layout, paths in files.items():
        model = load_dit(paths, CONFIG, dtype)
        assert same(model, state, dtype), layout
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())


def test_names_of_diffusers_with_and_without_ref_conv(state, tmp_path):
    theirs = renamed(state, dit_names.diffusers_names(CONFIG))
    assert same(load_dit(written(tmp_path / "with.safetensors", theirs), CONFIG), state)
    without = {name: tensor for name, tensor in theirs.items() if not name.startswith("ref_conv")}
    zeros = {n: torch.zeros_like(t) if n.startswith("ref_conv") else t for n, t in state.items()}
    assert same(load_dit(written(tmp_path / "without.safetensors", without), CONFIG), zeros)
    half = {name: tensor for name, tensor in theirs.items() if name != "ref_conv.bias"}
    with pytest.raises(WeightsError) as caught:
        load_dit(written(tmp_path / "half.safetensors", half), CONFIG)
    one_sentence(caught, "1 missing (ref_conv.bias)")


def test_ref_conv_may_not_be_absent_in_original_names(state, tmp_path):
    without = {name: tensor for name, tensor in state.items() if not name.startswith("ref_conv")}
    with pytest.raises(WeightsError) as caught:
        load_dit(written(tmp_path / "x.safetensors", without), CONFIG)
    one_sentence(caught, "2 missing (ref_conv.weight, ref_conv.bias)")


def test_prefixes_are_removed_at_the_start_only(state, tmp_path):
    moved = {(f"blocks.0.module.{n}" if n == "head.modulation" else n): t for n, t in state.items()}
    with pytest.raises(WeightsError) as caught:
        load_dit(written(tmp_path / "x.safetensors", moved), CONFIG)
    one_sentence(caught, "blocks.0.module.head.modulation", "1 missing (head.modulation)")


def test_what_does_not_fit_is_named_and_counted(state, tmp_path):
    broken = dict(state)
    for name in [n for n in state if n.endswith("norm_q.weight")]:
        del broken[name]
    broken["blocks.7.modulation"] = torch.zeros(3)
    broken["head.head.bias"] = torch.zeros(7)
    with pytest.raises(WeightsError) as caught:
        load_dit(written(tmp_path / "x.safetensors", broken), CONFIG)
    one_sentence(
        caught, "x.safetensors", "6 missing (blocks.0.self_attn.norm_q.weight", "and 2 more",
        "1 unexpected (blocks.7.modulation)", "1 wrongly shaped (head.head.bias of [7] instead of [64])",
    )  # fmt: skip


def test_nothing_is_read_before_all_names_and_shapes_fit(state, tmp_path):
    broken = {name: tensor for name, tensor in state.items() if name != "head.head.bias"}
    with pytest.raises(WeightsError):
        dit_state(open_checkpoint(written(tmp_path / "x.safetensors", broken)), CONFIG)


def test_the_wrong_base_model_is_named(state, tmp_path):
    small = replace(CONFIG, slots=1, image_width=0, ref_conv=False)
    text_only = {name: torch.zeros(shape) for name, shape in dit_names.dit_shapes(small).items()}
    theirs = renamed(text_only, dit_names.diffusers_names(small))
    for i, stored in enumerate((text_only, theirs)):
        with pytest.raises(WeightsError) as caught:
            load_dit(written(tmp_path / f"{i}.safetensors", stored), CONFIG)
        one_sentence(caught, "text-to-video", "16 input channels", "no image branch", "instead")
        assert same(load_dit(tmp_path / f"{i}.safetensors", small), text_only)


def test_the_trap_in_the_readme_of_clear_is_named(tmp_path):
    """Wan2.1-T2V-1.3B by its true shapes, one value each."""
    shapes = dit_names.dit_shapes(WAN_T2V)
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}, tmp_path / "t2v.pt")
    with pytest.raises(WeightsError) as caught:
        load_dit(tmp_path / "t2v.pt", WAN_FUN_CONTROL)
    one_sentence(caught, "found Wan2.1-T2V-1.3B (16 input channels", "use Wan2.1-Fun-V1.1-1.3B-Control instead")


def test_an_occlusion_head_is_loaded_or_exactly_plain(state, tmp_path):
    config = replace(CONFIG, occlusion=True)
    torch.manual_seed(1)
    whole = state | {n: torch.randn(s) for n, s in dit_names.dit_shapes(config).items() if n not in state}
    head = [name for name in whole if dit_names.is_occlusion(name)]
    assert sorted({name.split(".")[-1] for name in head}) == ["bias", "occlusion_beta", "weight"]
    assert same(load_dit(written(tmp_path / "whole.safetensors", whole), config), whole)
    base = written(tmp_path / "base.safetensors", state)
    assert same(load_dit(base, config), whole | {name: torch.zeros_like(whole[name]) for name in head})
    with pytest.raises(WeightsError) as caught:
        load_dit(tmp_path / "whole.safetensors", CONFIG)
    one_sentence(caught, f"{len(head)} unexpected", "occlusion_head")
    part = {name: tensor for name, tensor in whole.items() if name != head[0]}
    with pytest.raises(WeightsError) as caught:
        load_dit(written(tmp_path / "part.safetensors", part), config)
    one_sentence(caught, f"1 missing ({head[0]})")


def test_the_vae_in_both_names(vae, tmp_path):
    theirs = renamed(vae, vae_names.diffusers_names(VAE_CONFIG))
    torch.save({"model_state": {f"model.{n}": t for n, t in vae.items()}}, tmp_path / "Wan2.1_VAE.pth")
    for path in (written(tmp_path / "vae.safetensors", theirs), tmp_path / "Wan2.1_VAE.pth"):
        assert same(load_vae(path, VAE_CONFIG), vae)
    with pytest.raises(WeightsError) as caught:
        load_dit(tmp_path / "Wan2.1_VAE.pth", CONFIG)
    one_sentence(caught, "missing", f"{len(vae)} unexpected")


def test_loaded_weights_outlive_their_file(state, tmp_path):
    for path in (written(tmp_path / "x.safetensors", state), tmp_path / "x.pt"):
        if path.suffix == ".pt":
            torch.save(state, path)
        model = load_dit(path, CONFIG)
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
        assert same(model, state)
