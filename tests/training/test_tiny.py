"""The whole training in stages: what is done is passed over, what was stopped goes on."""

from __future__ import annotations

import threading

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("peft", reason="Stage II needs peft: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from training.tiny import RECIPES, Stage, run_stages, stages  # noqa: E402


def test_the_stages_are_those_of_the_paper_in_order(tmp_path):
    names = [stage.name for stage in stages(tmp_path, RECIPES["cpu"], tmp_path / "bundle", threading.Event())]
    assert names == ["clips", "vae-1", "vae-2", "latents", "base-1", "base-2", "base-3", "stage-two", "export"]


def test_what_is_done_is_passed_over_and_a_stage_that_was_stopped_runs_again(tmp_path):
    stopped, ran = threading.Event(), []

    def plan(interrupted=False):
        for name in ("a", "b", "c"):

            def work(name=name):
                ran.append(name)
                if interrupted and name == "b":
                    stopped.set()

            yield Stage(name, work, tmp_path / "done" / name)

    run_stages(plan(), 1, stopped)
    assert ran == ["a"]
    run_stages(plan(interrupted=True), None, stopped)
    assert ran == ["a", "b"]
    stopped.clear()
    run_stages(plan(), None, stopped)
    assert ran == ["a", "b", "b", "c"]
    run_stages(plan(), None, stopped)
    assert ran == ["a", "b", "b", "c"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_describes_models_that_fit_together(name):
    recipe = RECIPES[name].with_options(seed=5, device="cpu")
    assert {recipe.vae.seed, recipe.base.seed, recipe.stage_two.seed} == {5}
    assert recipe.base.dit.latent_channels == recipe.vae.vae.latent_channels
    assert recipe.vae.vae.widths[-1] > 32
