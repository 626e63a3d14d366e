"""Stage II as a command on a folder of weights: it goes on, refuses what does not fit, and computes in bf16."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("peft", reason="Stage II needs peft: pip install '.[train]'")

from safetensors.torch import load_file, save_file  # noqa: E402

from clear_rt.models.dit_names import is_occlusion  # noqa: E402
from tests.trainer_state import assert_equal  # noqa: E402
from tests.training.small_base import BASE, base_folder, latent_shards  # noqa: E402
from training import resumable, stage_two  # noqa: E402
from training.adapter import with_adapter  # noqa: E402
from training.flow import batches  # noqa: E402
from training.latent_data import LatentPairs  # noqa: E402
from training.learned import learning  # noqa: E402
from training.stage_two import PRESETS, StageTwoTraining, main, trainer_on  # noqa: E402


@pytest.fixture
def base(tmp_path):
    return base_folder(tmp_path / "base")


@pytest.fixture
def data(tmp_path):
    return latent_shards(tmp_path / "data", side=12)


def test_the_command_trains_goes_on_and_refuses_other_options(base, data, tmp_path, monkeypatch, capsys):
    def command(run, *options):
        given = ["--base", base, "--data", data, "--run", tmp_path / run, "--batch", 3, *options]
        monkeypatch.setattr("sys.argv", ["training.stage_two", *map(str, given)])
        main()
        return load_file(tmp_path / run / "adapter.safetensors")

    whole = command("whole", "--rank", 3, "--steps", 3, "--accumulate", 2)
    assert whole["blocks.2.ffn.0.lora_A.default.weight"].shape == (3, BASE.width)
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["config"]["accumulate"], first["processes"]) == (2, 1)
    assert first["learning"] < first["parameters"]
    # Broken off after one step of the same three.
    trainer = trainer_on(base, tmp_path / "broken", replace(PRESETS["tiny"], batch=3, rank=3, steps=3, accumulate=2))
    trainer.train_to(LatentPairs(data), 1)
    assert_equal(command("broken", "--rank", 3, "--steps", 3, "--accumulate", 2), whole)
    with pytest.raises(SystemExit, match=r"^training: .*trained with rank 3, now asked for rank 4; "):
        command("broken", "--rank", 4, "--steps", 3, "--accumulate", 2)
    with pytest.raises(SystemExit, match=r"^training: expected a LoRA of rank 1 or more, got 0; CLEAR's is 64$"):
        command("none", "--rank", 0)
    with pytest.raises(SystemExit, match=r"^training: .*expected a folder of weights, found none; "):
        command("none", "--base", tmp_path / "nowhere")


def test_two_batches_to_a_step_have_the_mean_of_their_gradients(base, data, tmp_path):
    """Against one backward pass of each batch alone; the sum of two numbers and their half are exact to rounding."""
    config = StageTwoTraining(rank=4, steps=2, batch=3, accumulate=2)
    pairs = LatentPairs(data)
    (share,) = batches(pairs, config, range(1))
    gradients = []
    for number, windows in enumerate(share):
        trainer = trainer_on(base, tmp_path / "alone", config)
        trainer._terms(windows, number)["total"].backward()
        gradients.append({name: p.grad for name, p in learning(trainer.model).items()})
    trainer = trainer_on(base, tmp_path / "both", config)
    figures = trainer.advance(*share)
    expected = {name: (gradient + gradients[1][name]) / 2 for name, gradient in gradients[0].items()}
    length = torch.stack([g.square().sum() for g in expected.values()]).sum().sqrt().item()
    assert figures["gradient"] == pytest.approx(length, rel=1e-5)
    # As they are left: cut to a length of 1.
    for name, parameter in learning(trainer.model).items():
        torch.testing.assert_close(parameter.grad, expected[name] * min(1, 1 / length), rtol=1e-4, atol=1e-8, msg=name)
    with pytest.raises(ValueError, match="zip"):
        trainer.advance(share[0])


def test_a_base_in_bf16_learns_nearly_as_one_in_fp32_with_an_adapter_in_fp32(base, data, tmp_path, monkeypatch):
    for module in (resumable, stage_two):
        monkeypatch.setattr(module, "computes_bfloat16", lambda _kind: True)
    config = StageTwoTraining(rank=4, steps=2, batch=1, base_dtype="bfloat16", recompute=True)
    pairs = LatentPairs(data)
    (share,) = batches(pairs, config, range(1))
    narrow = trainer_on(base, tmp_path / "narrow", config)
    for name, parameter in narrow.model.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16), name
    found = narrow.advance(*share)
    monkeypatch.undo()
    wide = trainer_on(base, tmp_path / "wide", replace(config, base_dtype="float32", recompute=False))
    expected = wide.advance(*share)
    # bf16 rounds to 2^-9; through six products of three blocks, and squared in the loss, some dozens of that.
    assert found["total"] == pytest.approx(expected["total"], rel=0.1)
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in learning(narrow.model).values())
    figures = narrow.checkpoint(pairs.validation())
    assert figures["text"] == pytest.approx(wide.checkpoint(pairs.validation())["text"], rel=0.05)


def test_adamw_moves_no_weight_by_more_than_its_rate(base, data, tmp_path):
    """Adam's first step is its rate in every weight with a gradient; decay of 0.01 of it is the rest."""
    config = replace(PRESETS["real"], rank=4, accumulate=1, batch=3, whole=False, recompute=False)
    trainer = trainer_on(base, tmp_path / "run", config)
    before = {name: p.detach().clone() for name, p in learning(trainer.model).items()}
    (share,) = batches(LatentPairs(data), config, range(1))
    trainer.advance(*share)
    for name, parameter in learning(trainer.model).items():
        moved = (parameter - before[name]).abs()
        assert moved.max() <= config.peak_lr * (1 + 0.01 * before[name].abs().max()) * 1.001, name
        # The base's last linears of every branch are 0 yet: nothing before them has a gradient.
        if ".o.lora_B" in name or ".ffn.2.lora_B" in name:
            assert moved.max() > 0.9 * config.peak_lr, name


def test_a_head_that_the_base_brings_is_kept_and_none_is_made_up(base, tmp_path):
    sizes, file = replace(BASE.dit, occlusion=True), base / "diffusion_pytorch_model.safetensors"
    torch.manual_seed(7)
    first = with_adapter(file, sizes, rank=2)
    assert all((p == 0).all() for n, p in first.named_parameters() if n.endswith("occlusion_beta"))
    state = {n.replace(".base_layer", ""): t.contiguous() for n, t in first.state_dict().items() if ".lora_" not in n}
    state["blocks.2.self_attn.occlusion_beta"] += 0.25
    save_file(state, tmp_path / "taught.safetensors")
    torch.manual_seed(8)
    second = with_adapter(tmp_path / "taught.safetensors", sizes, rank=2)
    for name, tensor in second.state_dict().items():
        if is_occlusion(name):
            assert torch.equal(tensor, state[name]), name
    assert all(p.requires_grad for n, p in second.named_parameters() if is_occlusion(n))


def test_presets_are_the_papers_and_clear_tinys():
    real = PRESETS["real"]
    assert (real.rank, real.peak_lr, real.optimiser, real.batch * real.accumulate) == (64, 1e-4, "adamw", 8)
    assert (real.objective, real.relative) == (PRESETS["tiny"].objective, False)
