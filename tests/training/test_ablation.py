"""The paper's ablation on a random base: every variant once, on the same data, resumable; figures by their formulas."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("peft", reason="Stage II needs peft: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.weights import load_dit  # noqa: E402
from tests.training.small_base import BASE, VAE, base_folder, latent_shards  # noqa: E402
from training import ablation  # noqa: E402
from training.ablation import AblationConfig, run_ablation, table  # noqa: E402
from training.flow import one_pass, prompt_embedding  # noqa: E402
from training.latent_data import LatentPairs, Windows  # noqa: E402
from training.latent_figures import decoded, latent_errors, psnr_db, sampled  # noqa: E402
from training.objective import ABLATION  # noqa: E402
from training.stage_two import StageTwoTraining  # noqa: E402

TWO = StageTwoTraining(rank=4, steps=2, batch=3)


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "SAMPLER_STEPS", (1,))
    base, data = base_folder(tmp_path / "base"), latent_shards(tmp_path / "data", side=12)
    return AblationConfig(base=base, data=data, training=TWO)


def test_every_variant_is_trained_once_and_the_rest_is_read(config, tmp_path, monkeypatch):
    figures = run_ablation(tmp_path / "run", config)
    assert list(figures) == ["control as it is", "base alone", *ABLATION]
    assert all(len(rows) == 1 for rows in figures.values())
    texts = {variant: rows[0]["text_1"] for variant, rows in figures.items() if variant != "control as it is"}
    # After two steps betas are still 0: what M2 adds does not show yet, nor, where training rounds to bf16, M3.
    assert texts["+M1 prior + focal"] == texts["+M2 distillation"]
    assert len({text for variant, text in texts.items() if variant not in ("+M2 distillation", "+M3 adaptation")}) == 4
    monkeypatch.setattr(ablation, "sampled", lambda *_, **__: pytest.fail("measured again"))
    assert run_ablation(tmp_path / "run", config) == figures
    lines = table(figures, config).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[4:]] == list(figures)
    assert len({line.count("|") for line in lines[2:]}) == 1
    first = figures["LoRA only"][0]
    assert f"| {first['text_1']:.4f} | {first['rest_1']:.4f} |" in lines[6]
    with pytest.raises(ConfigError, match="trained with rank 4, now asked for rank 2"):
        run_ablation(tmp_path / "run", replace(config, training=replace(TWO, rank=2)))
    with pytest.raises(
        ConfigError, match=r"was made with .*/base and .*/data, measured on all windows, now asked for "
    ):
        run_ablation(tmp_path / "run", replace(config, data=tmp_path))
    # A run from before there was `windows` goes on.
    inputs = json.loads((tmp_path / "run" / "inputs.json").read_text())
    del inputs["windows"]
    (tmp_path / "run" / "inputs.json").write_text(json.dumps(inputs))
    assert run_ablation(tmp_path / "run", config) == figures
    with pytest.raises(ConfigError, match=r"measured on all windows, now asked for .* measured on 1 windows"):
        run_ablation(tmp_path / "run", replace(config, windows=1))


@pytest.mark.parametrize(
    ("count", "first"), [(1, [0]), (2, [0, 3]), (3, [0, 2, 4]), (7, [0, 1, 2, 3, 4, 5, 6]), (9, None)]
)
def test_windows_to_measure_on_are_spread(count, first):
    numbers = torch.arange(7.0)
    some = ablation._some(Windows(numbers, numbers, numbers), count)
    assert some.maps.tolist() == (numbers.tolist() if first is None else first)


def test_a_stopped_ablation_goes_on_to_the_same_figures(config, tmp_path, monkeypatch):
    one = {"LoRA only": ABLATION["LoRA only"]}
    monkeypatch.setattr(ablation, "ABLATION", one)
    stopped = threading.Event()
    stopped.set()
    assert list(run_ablation(tmp_path / "broken", config, stopped)) == ["control as it is", "base alone"]
    # Stopped within the first variant: one step, and no figures of it.
    trainer = ablation.trainer_on(
        config.base, tmp_path / "broken" / "0-seed-0", replace(TWO, objective=one["LoRA only"])
    )
    trainer.train_to(LatentPairs(config.data), 1)
    assert run_ablation(tmp_path / "broken", config) == run_ablation(tmp_path / "whole", config)


def test_the_base_alone_is_what_an_untrained_adapter_gives(config):
    windows = LatentPairs(config.data).validation()
    dit = load_dit(config.base / "diffusion_pytorch_model.safetensors", BASE.dit)
    prompt = prompt_embedding(BASE.dit.text_width)
    made = sampled(dit, prompt, windows.control, 1)
    found = latent_errors(made, windows)
    expected = one_pass(dit, prompt, windows)
    assert found["text"] == pytest.approx(expected["text"], abs=1e-4)
    assert found["rest"] == pytest.approx(expected["rest"], abs=1e-4)


def test_figures_are_those_of_their_formulas():
    generator = torch.Generator().manual_seed(0)
    clean, made = (torch.randn(2, 16, 3, 8, 12, generator=generator) for _ in range(2))
    maps = (torch.rand(2, 3, 4, 6, generator=generator) > 0.7).float()
    windows = Windows(clean, clean, maps)
    found = latent_errors(made, windows)
    text, rest = [], []
    squared = (made.double() - clean.double()).square().mean(1)
    for b, t, y, x in np.ndindex(2, 3, 8, 12):
        (text if maps[b, t, y // 2, x // 2] else rest).append(squared[b, t, y, x].item())
    change = np.diff(made.double().numpy() - clean.double().numpy(), axis=2)
    expected = {"text": np.mean(text), "rest": np.mean(rest), "change": np.square(change).mean()}
    assert found == pytest.approx(expected, rel=1e-5)


def test_decoded_figures_look_where_the_prior_found_text():
    """Two clips that differ in the tokens of one row of the second latent; a decoder spreads that over some pixels."""
    torch.manual_seed(0)
    vae = Vae(VAE).eval()
    clean = torch.randn(1, 16, 2, 8, 12)
    made, maps = clean.clone(), torch.zeros(1, 2, 4, 6)
    made[:, :, 1, 4:6] += 1
    maps[:, 1, 2] = 1
    found = psnr_db(decoded(vae, made), decoded(vae, clean), maps, VAE.latent_frames)
    with torch.no_grad():
        first, second = (vae.decode(x).clamp(-1, 1).double() for x in (made, clean))
    squared = (first - second).square().mean(1)[0]
    assert squared.shape == (5, 64, 96)
    inside, every = squared[1:, 32:48].mean().item(), squared.mean().item()
    assert found["psnr_text_db"] == pytest.approx(10 * np.log10(4 / inside), abs=0.01)
    assert found["psnr_db"] == pytest.approx(10 * np.log10(4 / every), abs=0.01)
    assert found["psnr_text_db"] < found["psnr_db"]


def test_several_seeds_give_a_mean_and_a_deviation(config, monkeypatch):
    monkeypatch.setattr(ablation, "SAMPLER_STEPS", (1, 2))
    rows = [{"text_1": value, "text_2": 2 * value} for value in (1.0, 2.0, 3.0)]
    rows = [{f"{n}_{s}": 1.0 for n in ablation.COLUMNS for s in (1, 2)} | row for row in rows]
    line = table({"LoRA only": rows}, replace(config, seeds=(0, 1, 2))).splitlines()[-1]
    assert line.startswith("| LoRA only | 2.0000 ± 1.0000 / 4.0000 ± 2.0000 | 1.0000 ± 0.0000 / ")


def test_the_command_writes_the_table_it_prints(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablation, "ABLATION", {"+M4 consistency": ABLATION["+M4 consistency"]})
    monkeypatch.setitem(ablation.PRESETS, "tiny", TWO)
    run, given = tmp_path / "run", ["--base", str(config.base), "--data", str(config.data)]
    monkeypatch.setattr("sys.argv", ["training.ablation", "--run", str(run), *given, "--steps", "1"])
    ablation.main()
    text = (run / "table.md").read_text()
    assert capsys.readouterr().out.endswith(text + "\n")
    assert "| +M4 consistency | " in text
    assert json.loads((run / "0-seed-0" / "figures.json").read_text())["text_1"] > 0
