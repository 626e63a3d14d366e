"""What a checkpoint holds of a model, its average, and blocks that compute twice: all as without them."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from clear_rt.models.dit import Dit  # noqa: E402
from tests.training.small_base import BASE, latent_shards  # noqa: E402
from training.learned import Learned, LearnedAverage, learning  # noqa: E402
from training.recomputed import recompute_blocks  # noqa: E402
from training.resumable import running_average  # noqa: E402
from training.whole_windows import WholeWindows  # noqa: E402


def model():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    network[0].requires_grad_(False)
    return network


def test_the_average_of_what_learns_is_torchs_average_of_it():
    network, decay = model(), 0.9
    ours, theirs = LearnedAverage(network, decay), running_average(network, decay)
    for step in range(120):
        with torch.no_grad():
            for parameter in learning(network).values():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step)))
        ours.update_parameters(network)
        theirs.update_parameters(network)
    expected = theirs.module.state_dict()
    assert ours.values().keys() == {"1.weight", "1.bias"}
    for name, value in ours.values().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-6)
    other = LearnedAverage(network, decay)
    # A checkpoint of earlier versions: the average of the whole model, by torch.
    other.load_state_dict(theirs.state_dict())
    assert all(torch.equal(value, expected[name]) for name, value in other.values().items())
    assert other.state_dict()["n_averaged"] == 120


def test_the_model_computes_with_the_average_within_and_is_as_before_afterwards():
    network = model()
    average = LearnedAverage(network, 0.9)
    now = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for value in average.values().values():
            value.fill_(7)
    within = []
    with pytest.raises(ZeroDivisionError), average.in_place():
        within.append(network[1].weight.unique().item() / 0)
    assert not within
    with average.in_place():
        assert (network[1].weight == 7).all()
    assert all(torch.equal(value, now[name]) for name, value in network.state_dict().items())


def test_a_checkpoint_holds_what_learns_and_takes_older_ones_that_hold_more():
    network = model()
    assert Learned(network).state_dict().keys() == {"1.weight", "1.bias"}
    older = {name: value + 1 for name, value in network.state_dict().items()}
    frozen = network[0].weight.clone()
    Learned(network).load_state_dict(older)
    assert torch.equal(network[1].weight, older["1.weight"])
    assert torch.equal(network[0].weight, frozen)


def test_blocks_that_compute_twice_have_the_same_gradients():
    torch.manual_seed(0)
    kept = Dit(replace(BASE.dit, occlusion=True))
    again = copy.deepcopy(kept)
    recompute_blocks(again)
    latents = torch.randn(2, 16, 2, 4, 6)
    inputs = (latents, latents.flip(0), torch.tensor([300.0, 900.0]), torch.randn(2, 8, 64))
    for dit in (kept, again):
        velocity, occlusion = dit(*inputs)
        (velocity.square().mean() + occlusion.square().mean()).backward()
    assert kept.state_dict().keys() == again.state_dict().keys()
    for (name, expected), found in zip(kept.named_parameters(), again.parameters(), strict=True):
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-5, atol=1e-8, msg=name)


def test_whole_windows_are_those_that_were_encoded(tmp_path):
    folder = latent_shards(tmp_path / "data", side=12, clips=3)
    windows = WholeWindows(folder)
    stored = {n: np.load(folder / f"clean-{n:03d}.npy") for n in range(6)}
    for step in range(8):
        clean, control, maps = windows.batch(np.random.default_rng(step), 2)
        assert clean.shape == control.shape == (2, 16, 2, 12, 12)
        assert maps.shape == (2, 2, 6, 6)
        assert maps.max() == 1
        for window in clean.numpy():
            assert any((window == row).all() for n in range(5) for row in stored[n])
    np.testing.assert_array_equal(windows.validation().clean, stored[5])
    (folder / "control-005.npy").unlink()
    with pytest.raises(ConfigError, match=r"expected 6 shards control-NNN.npy or more .* found 5; encode more videos"):
        WholeWindows(folder)
