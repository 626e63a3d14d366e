"""Muon: its steps have the size they are asked for in every direction, and it goes on where it stopped."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from training.muon import Muon, orthogonal  # noqa: E402


@pytest.mark.parametrize("shape", [(8, 8), (5, 40), (40, 5), (1, 7), (64, 1728)])
def test_singular_values_are_about_one(shape):
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_a_gradient_of_one_direction_moves_no_other():
    left, right = torch.eye(6)[:1].T, torch.eye(9)[:1]
    moved = orthogonal(1e3 * left @ right)
    assert 0.5 < moved[0, 0] < 1.3
    assert moved.abs().sum() == moved[0, 0].abs()


@pytest.mark.parametrize("width", [8, 512])
def test_a_step_changes_what_a_layer_makes_of_a_constant_by_its_rate(width):
    """With Adam's steps it would be rate x width: the reason for Muon."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(width, 16, bias=False)
    constant = torch.ones(4, width)
    before = layer(constant).detach()
    optimiser = Muon(layer.parameters(), lr=0.01)
    layer(constant).sum().backward()
    optimiser.step()
    change = (layer(constant) - before).norm() / before[0].numel() ** 0.5 / len(constant) ** 0.5
    assert 0.005 < change < 0.02


def test_convolutions_vectors_and_scalars_learn():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv3d(2, 4, 3, padding=1), torch.nn.GroupNorm(1, 4), torch.nn.Flatten())
    scale = torch.nn.Parameter(torch.ones(()))
    frozen = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    optimiser = Muon([*model.parameters(), scale, frozen], lr=0.02, vector_share=1.0)
    x, losses = torch.randn(3, 2, 4, 4, 4), []
    for _ in range(30):
        loss = (scale * model(x) - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(frozen, torch.ones(3))


def test_a_restored_optimiser_takes_the_same_step():
    def trained(steps, state=None, weight=None):
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 3)
        optimiser = Muon(layer.parameters(), lr=0.1)
        if state is not None:
            layer.load_state_dict(weight)
            optimiser.load_state_dict(state)
        for _ in range(steps):
            optimiser.zero_grad()
            layer(torch.ones(2, 4)).square().sum().backward()
            optimiser.step()
        return layer.state_dict(), optimiser.state_dict()

    whole, _ = trained(4)
    weight, state = trained(2)
    resumed, _ = trained(2, state, weight)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
