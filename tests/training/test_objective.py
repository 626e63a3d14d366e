"""The paper's parts one by one: what of them is computed, what learns, and that they add up."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("peft", reason="Stage II needs peft: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from clear_rt.models.dit import DitOutput  # noqa: E402
from tests.training.small_base import base_folder  # noqa: E402
from training import losses_two  # noqa: E402
from training.latent_data import Windows  # noqa: E402
from training.learned import learning  # noqa: E402
from training.objective import ABLATION, CONSISTENCY_SHARE, WHOLE, Objective  # noqa: E402
from training.stage_two import StageTwoTraining, trainer_on  # noqa: E402

PARTS = {
    "LoRA only": set(),
    "+M1 prior + focal": set(),
    "+M2 distillation": {"distillation"},
    "+M3 adaptation": {"distillation"},
    "+M4 consistency": {"distillation", "sparsity", "consistency"},
}


def drawn(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def given():
    """velocity and the head's map, target, windows with the prior's map."""
    shape = (2, 16, 3, 4, 6)
    maps = (drawn(2, 3, 2, 3, seed=3)).sigmoid()
    found = DitOutput(drawn(*shape, seed=0), drawn(2, 3, 2, 3, seed=1).sigmoid())
    return found, drawn(*shape, seed=2), Windows(drawn(*shape, seed=4), drawn(*shape, seed=5), maps)


@pytest.mark.parametrize("variant", ABLATION)
def test_the_total_is_the_papers_sum_of_what_is_on(variant, given):
    (velocity, head), target, windows = given
    objective = ABLATION[variant]
    found = DitOutput(velocity, head if objective.has_head else None)
    terms = objective.terms(found, target, windows, 1.0, step=7)
    assert terms.keys() == {"total", "generation"} | PARTS[variant]
    shares = {"generation": 1.0, "distillation": 1.0, "sparsity": 0.1, "consistency": CONSISTENCY_SHARE}
    expected = sum(shares[name] * value for name, value in terms.items() if name != "total")
    torch.testing.assert_close(terms["total"], expected, rtol=1e-12, atol=0)


def test_the_weight_follows_what_each_variant_says(given):
    (velocity, head), target, windows = given
    alpha = {step: losses_two.focus(step) for step in (0, 10)}
    expected = {
        "LoRA only": (velocity - target).square().mean(),
        "+M1 prior + focal": losses_two.generation(velocity, target, windows.maps, losses_two.STEADY_FOCUS),
        "+M2 distillation": losses_two.generation(velocity, target, windows.maps, losses_two.STEADY_FOCUS),
        "+M3 adaptation": losses_two.generation(velocity, target, head, alpha[10]),
        "+M4 consistency": losses_two.generation(velocity, target, head, alpha[10]),
    }
    for variant, objective in ABLATION.items():
        terms = objective.terms(DitOutput(velocity, head), target, windows, 1.0, step=10)
        assert terms["generation"].item() == expected[variant].item(), variant
    assert alpha[0] != alpha[10]


def test_the_order_is_the_papers_and_every_variant_adds_to_the_one_before():
    assert list(ABLATION) == list(PARTS)
    assert [*ABLATION.values()][-1] == WHOLE == StageTwoTraining().objective
    found = [set(), *PARTS.values()]
    assert all(a <= b for a, b in pairwise(found))


def test_lora_begins_alike_in_every_variant_and_a_taught_head_learns_beside_it(tmp_path):
    base, first = base_folder(tmp_path / "base"), {}
    wanted = {"blocks.2.self_attn.occlusion_beta"} | {
        f"occlusion_head.{layer}.{kind}" for layer in ("conv1", "conv2") for kind in ("weight", "bias")
    }
    for variant, objective in ABLATION.items():
        trainer = trainer_on(base, tmp_path / variant, StageTwoTraining(rank=4, objective=objective))
        lora = {name: p for name, p in learning(trainer.model).items() if ".lora_" in name}
        first = first or lora
        assert len(lora) == 2 * 10 * 3
        assert all(torch.equal(p, first[name]) for name, p in lora.items())
        beside = learning(trainer.model).keys() - lora.keys()
        assert beside == (wanted if "distillation" in PARTS[variant] else set()), variant


@pytest.mark.parametrize("change", [{"focal": "head"}, {"focal": "prior"}])
def test_a_map_of_a_head_that_is_never_taught_is_a_sentence(change):
    with pytest.raises(ConfigError, match="expected an occlusion head that learns from the prior"):
        Objective(distillation_share=0.0, **change)
    replace(WHOLE, distillation_share=0.0, sparse_share=0.0, focal="prior")
