"""Stage II losses against their formulas in float64, and what must and must not carry a gradient."""

from __future__ import annotations

from math import log, pi, sin

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from training import losses_two  # noqa: E402


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_focus_swings_between_5_and_15_with_half_a_period_of_20():
    values = [losses_two.focus(step) for step in range(81)]
    assert values[0] == 5
    assert values[10] == pytest.approx(15)
    assert values[20] == pytest.approx(5)
    assert values[3] == pytest.approx(5 + 10 * abs(sin(2 * pi * 3 / 40)))
    assert values[:40] == pytest.approx(values[40:80])


def test_errors_under_the_map_count_more_and_nothing_is_lost_elsewhere():
    velocity, target = drawn(2, 4, 3, 4, 6), drawn(2, 4, 3, 4, 6, seed=1)
    occlusion = torch.zeros(2, 3, 2, 3, dtype=torch.float64)
    occlusion[1, 2, 1, 0] = 1
    expected, count = 0.0, 0
    for b in range(2):
        for t in range(3):
            for y in range(4):
                for x in range(6):
                    error = (velocity[b, :, t, y, x] - target[b, :, t, y, x]).square().mean().item()
                    weight = (1 + 15 * occlusion[b, t, y // 2, x // 2].item()) * (error + 1e-6) ** 0.8
                    expected, count = expected + weight * error, count + 1
    assert losses_two.generation(velocity, target, occlusion, 15).item() == pytest.approx(expected / count, rel=1e-12)


def test_the_steady_focus_is_the_mean_of_the_swinging_one():
    values = [losses_two.focus(step / 100) for step in range(100 * losses_two.ALPHA_PERIOD_STEPS)]
    assert pytest.approx(sum(values) / len(values), rel=1e-6) == losses_two.STEADY_FOCUS


def test_with_feedback_the_map_learns_from_what_it_costs():
    """d/dM of (1 + alpha M) e^1.8, summed over the four latents of a token."""
    velocity, occlusion = drawn(1, 2, 1, 2, 2), torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64, requires_grad=True)
    losses_two.generation(velocity, torch.zeros_like(velocity), occlusion, 7.0, feedback=True).backward()
    error = velocity.square().mean(1)
    expected = 7.0 * ((error + 1e-6) ** 0.8 * error).mean()
    assert occlusion.grad.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_weight_is_a_constant_in_the_error_and_in_the_map():
    velocity, occlusion = drawn(1, 2, 1, 2, 2).requires_grad_(), torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
    occlusion.requires_grad_()
    losses_two.generation(velocity, torch.zeros_like(velocity), occlusion, 15).backward()
    with torch.no_grad():
        error = velocity.square().mean(1, keepdim=True)
        gradient = (1 + 15 * 0.5) * (error + 1e-6) ** 0.8 * velocity * 2 / 2 / 4
    torch.testing.assert_close(velocity.grad, gradient)
    assert occlusion.grad is None


def test_the_prior_itself_costs_its_mean_alone():
    prior = drawn(2, 3, 4, 5).sigmoid()
    assert losses_two.distillation(prior, prior).item() == 0
    assert losses_two.sparsity(prior, prior).item() == pytest.approx(prior.mean().item())


@pytest.mark.parametrize(("p", "q"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1.0, 1.0), (0.3, 0.9)])
def test_sparsity_is_finite_where_maps_are_certain(p, q):
    occlusion, prior = torch.full((1, 1, 2, 2), p, dtype=torch.float64), torch.full((1, 1, 2, 2), q).double()
    p, q = (min(max(x, 1e-7), 1 - 1e-7) for x in (p, q))
    divergence = p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))
    expected = occlusion.mean() + 0.5 * divergence
    assert losses_two.sparsity(occlusion, prior).item() == pytest.approx(expected.item())


def test_consistency_compares_at_all_distances_that_fit():
    still = drawn(1, 3, 1, 2, 2).expand(-1, -1, 6, -1, -1)
    # The epsilon at distances 1 and 4; nothing else.
    assert losses_two.consistency(still).item() == pytest.approx((1e-3 + 1e-3 / 4) / 2)
    moving = drawn(1, 3, 9, 2, 2)
    terms = []
    for distance in (1, 4, 8):
        change = moving[:, :, distance:] - moving[:, :, :-distance]
        terms.append((change.square() + 1e-6).sqrt().mean() / distance)
    assert losses_two.consistency(moving).item() == pytest.approx(torch.stack(terms).mean().item())
    assert losses_two.consistency(moving[:, :, :1]).item() == 0


def test_a_token_is_covered_as_much_as_the_most_covered_pixel_of_it():
    occlusion = torch.zeros(1, 9, 32, 48)
    occlusion[0, 0, 3, 40] = 0.4
    occlusion[0, 5, 31, 0] = 0.9
    occlusion[0, 8, 16, 16] = 0.7
    found = losses_two.prior_on_latents(occlusion, 4, 16)
    assert found.shape == (1, 3, 2, 3)
    expected = torch.zeros(1, 3, 2, 3)
    expected[0, 0, 0, 2], expected[0, 2, 1, 0], expected[0, 2, 1, 1] = 0.4, 0.9, 0.7
    torch.testing.assert_close(found, expected)
    assert losses_two.prior_on_latents(occlusion[:, :1], 4, 16).shape == (1, 1, 2, 3)
    with pytest.raises(ValueError, match=r"expected 1 \+ a multiple of 4 frames, got 8"):
        losses_two.prior_on_latents(occlusion[:, :8], 4, 16)
