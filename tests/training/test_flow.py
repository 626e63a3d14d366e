"""Base and Stage II: where they begin, that they learn what they should and nothing else, and that they go on."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("peft", reason="Stage II needs peft: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from clear_rt.export.merge import merge_adapters  # noqa: E402
from clear_rt.models.checkpoint import open_checkpoint  # noqa: E402
from clear_rt.models.dit import Dit  # noqa: E402
from clear_rt.models.dit_config import DitConfig  # noqa: E402
from clear_rt.models.dit_names import is_occlusion  # noqa: E402
from clear_rt.models.weights import load_dit  # noqa: E402
from clear_rt.schedule import sigmas  # noqa: E402
from tests.trainer_state import assert_equal, state  # noqa: E402
from training.base import BaseTrainer, BaseTraining  # noqa: E402
from training.dit_start import copying_start  # noqa: E402
from training.flow import SOFTENED_BY, noised, prompt_embedding, relative_weight, text_of  # noqa: E402
from training.latent_data import LatentPairs, Windows  # noqa: E402
from training.stage_two import StageTwoTrainer, StageTwoTraining, with_adapter  # noqa: E402

BASE = BaseTraining(seed=3, width=144, heads=3, layers=3, steps=4, batch=3, checkpoint_every=10)
TWO = StageTwoTraining(seed=3, rank=4, steps=4, batch=3, checkpoint_every=10)


@pytest.fixture
def pairs(tmp_path):
    """Six shards of two clips whose captions lie in the lower half; the sixth is for validation."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "latents"
    folder.mkdir()
    for number in range(6):
        clean = rng.normal(size=(2, 16, 2, 20, 20)).astype(np.float16)
        control, maps = clean.copy(), np.zeros((2, 2, 10, 10), np.uint8)
        control[..., 12:16, :] += 2
        maps[..., 6:8, :] = 255
        for name, array in (("clean", clean), ("control", control), ("maps", maps)):
            np.save(folder / f"{name}-{number:03d}.npy", array)
    return LatentPairs(folder)


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_before_training_a_sampler_of_any_length_gives_the_control(steps):
    torch.manual_seed(0)
    dit = Dit(BASE.dit)
    copying_start(dit)
    control = torch.randn(2, 16, 3, 8, 10)
    x, levels = torch.randn_like(control), sigmas(steps)
    text = text_of(prompt_embedding(BASE.dit.text_width), dit, 2)
    with torch.no_grad():
        for now, then in pairwise(levels):
            velocity = dit(x, control, torch.full((2,), 1000 * now), text).velocity
            x = x + velocity * (then - now)
    assert (x - control).square().mean() < 0.05


def test_a_transformer_too_narrow_to_copy_is_a_sentence():
    with pytest.raises(ConfigError, match="at least 130 wide"):
        copying_start(Dit(replace(BASE.dit, width=96)))


def test_noise_levels_are_those_of_the_sampler_and_the_target_is_the_velocity():
    clean = torch.randn(4000, 1, 1, 2, 2)
    given = noised(clean, torch.Generator().manual_seed(0))
    at = (given.timesteps / 1000)[:, None, None, None, None]
    torch.testing.assert_close(given.latents - at * given.target, clean, atol=1e-5, rtol=0)
    assert given.timesteps.min() > 0
    assert given.timesteps.max() <= 1000
    # Half of a shift-5 schedule lies above 5 / 6.
    assert (given.timesteps > 1000 * 5 / 6).float().mean() == pytest.approx(0.5, abs=0.03)


def test_windows_of_several_widths_keep_their_maps_beside_them(pairs):
    seen = set()
    for step in range(12):
        clean, control, maps = pairs.batch(np.random.default_rng(step), 8)
        assert clean.shape == control.shape
        assert maps.shape[-1] * 2 == clean.shape[-1]
        changed = (control - clean).abs().amax(1)[..., ::2, ::2] > 1
        assert torch.equal(changed | (maps == 0), maps > 0.5) or torch.equal(changed, maps > 0.5)
        seen.add(clean.shape[-1])
    assert seen <= {12, 36, 72, 96}
    assert len(seen) > 1


def test_errors_count_by_how_much_smaller_they_are_than_the_drafts():
    """A piece whose draft is twice as wrong in every value counts a quarter; one that is right counts fully."""
    clean = torch.zeros(1, 16, 2, 12, 36)
    control = clean.clone()
    control[..., 12:24] = 1
    control[..., 24:] = 2
    weight = relative_weight(Windows(clean, control, torch.zeros(1, 2, 6, 18)))
    assert weight.shape == (1, 1, 1, 1, 36)
    first, second, third = weight.flatten().unflatten(0, (3, 12)).unbind()
    assert (first == 1).all()
    torch.testing.assert_close(second, torch.full((12,), SOFTENED_BY / (1 + SOFTENED_BY)))
    torch.testing.assert_close(third / second, torch.full((12,), (1 + SOFTENED_BY) / (4 + SOFTENED_BY)))


def test_the_base_learns_what_covers_the_video(pairs, tmp_path):
    trainer = BaseTrainer(tmp_path / "base", replace(BASE, steps=60))
    first, last = [], []
    for step in range(60):
        loss = trainer.advance(pairs.batch(np.random.default_rng(step), 3))["plain"]
        (first if step < 10 else last if step >= 50 else []).append(loss)
    assert sum(last) < 0.8 * sum(first)


@pytest.mark.parametrize("kind", ["base", "two"])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(pairs, tmp_path, kind):
    def trainer(name):
        if kind == "base":
            return BaseTrainer(tmp_path / name, BASE)
        return StageTwoTrainer(tmp_path / name, TWO, _base(tmp_path), _sizes())

    unbroken = trainer("whole")
    unbroken.train_to(pairs, 4)
    for last_step in (2, 4):
        resumed = trainer("broken")
        resumed.train_to(pairs, last_step)
    assert resumed.step == unbroken.step == 4
    assert_equal(state(resumed), state(unbroken))
    with pytest.raises(ConfigError, match="trained with seed 3, now asked for seed 4"):
        resumed.__class__.resume(_with_seed(resumed, 4))


def test_stage_two_learns_adapter_head_and_beta_and_leaves_the_base(pairs, tmp_path):
    before = open_checkpoint(_base(tmp_path))
    trainer = StageTwoTrainer(tmp_path / "two", TWO, _base(tmp_path), _sizes())
    learning = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert {n for n in learning if ".lora_" not in n} == {n for n in trainer.model.state_dict() if is_occlusion(n)}
    assert len([n for n in learning if ".lora_A" in n]) == 10 * BASE.layers
    trainer.train_to(pairs, 4)
    for name, tensor in trainer.model.state_dict().items():
        original = name.replace(".base_layer", "")
        if original in before:
            assert torch.equal(tensor, before[original]), name
    assert all(trainer.model.get_parameter(n).grad is not None for n in learning)


def test_a_beta_that_rounding_noise_pushed_below_0_goes_on_learning(pairs, tmp_path):
    trainer = StageTwoTrainer(tmp_path / "two", TWO, _base(tmp_path), _sizes())
    betas = [p for n, p in trainer.model.named_parameters() if n.endswith("occlusion_beta")]
    with torch.no_grad():
        torch.nn.init.normal_(trainer.model.get_parameter("occlusion_head.conv2.weight"))
        for beta in betas:
            beta.fill_(-1e-3)
    trainer.train_to(pairs, 1)
    assert all((beta == 0).all() for beta in betas)
    # So is what leaves: the average is that of weights as they were put back.
    left = open_checkpoint(tmp_path / "two" / "adapter.safetensors")
    assert all((left[name] == 0).all() for name in left if name.endswith("occlusion_beta"))
    trainer.train_to(pairs, 2)
    assert all((beta.grad != 0).all() for beta in betas)
    assert all((beta >= 0).all() for beta in betas)


def test_what_stage_two_leaves_merges_into_what_it_computed(pairs, tmp_path):
    trainer = StageTwoTrainer(tmp_path / "two", TWO, _base(tmp_path), _sizes())
    trainer.train_to(pairs, 4)
    merged = load_dit(_base(tmp_path), _sizes())
    (found,) = merge_adapters(merged, [(open_checkpoint(tmp_path / "two" / "adapter.safetensors"), 1.0)])
    assert (found.linears, found.rank, found.occlusion) == (10 * BASE.layers, TWO.rank, True)
    windows = pairs.validation()
    text = text_of(trainer.prompt, merged, len(windows.clean))
    inputs = (windows.clean, windows.control, torch.full((len(windows.clean),), 900.0), text)
    with torch.no_grad(), trainer.average.in_place():
        expected = trainer.model(*inputs)
        actual = merged(*inputs)
    torch.testing.assert_close(actual.velocity, expected.velocity, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(actual.occlusion, expected.occlusion, atol=1e-5, rtol=1e-5)


def test_an_adapter_changes_nothing_before_it_has_learned(tmp_path):
    plain, adapted = load_dit(_base(tmp_path), BASE.dit), with_adapter(_base(tmp_path), _sizes(), rank=4)
    latents = torch.randn(1, 16, 2, 4, 6)
    inputs = (latents, latents, torch.tensor([700.0]), text_of(prompt_embedding(64), plain, 1))
    with torch.no_grad():
        assert torch.equal(adapted(*inputs).velocity, plain(*inputs).velocity)
        assert adapted(*inputs).occlusion.mean() == pytest.approx(0.12, abs=0.01)


def _base(tmp_path):
    path = tmp_path / "given" / "dit.safetensors"
    if not path.exists():
        trainer = BaseTrainer(path.parent, BASE)
        from safetensors.torch import save_file

        save_file({n: t.contiguous() for n, t in trainer.model.state_dict().items()}, path)
    return path


def _sizes() -> DitConfig:
    return replace(BASE.dit, occlusion=True)


def _with_seed(trainer, seed):
    trainer.config = dataclasses.replace(trainer.config, seed=seed)
    return trainer
