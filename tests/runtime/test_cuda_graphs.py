"""The `cuda` engine on a GPU, where its steps are CUDA graphs: against float32, in long runs, beside other shapes."""

import gc
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the engine is torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.dit_config import WAN_FUN_CONTROL  # noqa: E402
from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from clear_rt.models.vae_step import DecoderStep, EncoderStep  # noqa: E402
from clear_rt.runtime.cuda.networks import CudaNetworks  # noqa: E402

pytestmark = pytest.mark.gpu
# bfloat16 rounds by 2**-9 in the square mean of some 60 sums that follow each other, as if by chance: sqrt(60) / 2**9.
HALF_ERROR = 1.6e-2


@pytest.fixture(scope="module")
def exact(randomise):
    """A transformer of four blocks of Wan's width and a VAE of a third of Wan's channels, in float32."""
    with torch.no_grad():
        config = replace(WAN_FUN_CONTROL, layers=4, occlusion=True)
        dit = randomise(BakedDit(BakedConfig.of(config, text_keys=9, timesteps=3))).cuda()
        vae = randomise(Vae(VaeConfig(base_width=32, res_blocks=1)), 1).cuda()
    return dit.place_turns(dit.time).requires_grad_(False).eval(), vae.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def networks(exact, randomise):
    with torch.no_grad():
        dit, vae = exact
        half = BakedDit(dit.config)
        half.load_state_dict(dit.state_dict())
        half = half.cuda().bfloat16()
        half.place_turns(half.time)
        steps = (step.folded(vae).bfloat16() for step in (EncoderStep, DecoderStep))
        return CudaNetworks(half.requires_grad_(False).eval(), *steps)


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def relative(found, expected):
    found, expected = torch.as_tensor(found).double().cpu(), expected.double().cpu()
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm())


def coded(networks, frames):
    """Latents of frames, and the frames of these latents again, a step at a time."""
    caches, latents = None, []
    for start, stop in ((0, 1), *((i, i + 4) for i in range(1, frames.shape[1], 4))):
        latent, caches = networks.encode(frames[:, start:stop], caches)
        latents.append(latent)
    caches, decoded = None, []
    for latent in latents:
        some, caches = networks.decode(latent, caches)
        decoded.append(some)
    return np.stack(latents, 1), np.concatenate(decoded, 1)


@torch.no_grad()
@pytest.mark.parametrize("size_px", [(16, 16), (48, 208), (128, 256)])
def test_coding_is_that_of_float32_over_long_runs(exact, networks, size_px):
    _, vae = exact
    for seed in (1, 2):
        frames = np.tanh(drawn(seed, 3, 17, *size_px))
        latents, decoded = coded(networks, frames)
        assert relative(latents, vae.encode(torch.from_numpy(frames)[None].cuda())[0]) < HALF_ERROR
        assert relative(decoded, vae.decode(torch.from_numpy(latents)[None].cuda())[0]) < HALF_ERROR
        gc.collect()


@torch.no_grad()
def test_velocities_are_those_of_float32_in_any_order_of_shapes(exact, networks):
    dit, _ = exact
    for grid, row in (((2, 8, 12), 0), ((3, 16, 16), 1), ((2, 8, 12), 2), ((1, 2, 2), 1), ((2, 8, 12), 0)):
        latents, control = drawn(3, 16, *grid), drawn(4, 16, *grid)
        given = [torch.from_numpy(array)[None].cuda() for array in (latents, control)]
        expected = dit(given[0], dit.control(given[1]), torch.tensor(row, device="cuda"))[0]
        found = networks.velocity(latents, networks.control(control), row)
        assert relative(found, expected) < HALF_ERROR


def test_replays_with_others_in_between_change_nothing(networks):
    """Graphs share their memory: what one leaves there is no business of another."""
    frames = np.tanh(drawn(5, 3, 9, 64, 96))
    alone = coded(networks, frames)
    latents = drawn(6, 16, 2, 8, 12)
    held = networks.control(latents)
    velocity = networks.velocity(latents, held, 1)
    caches, found = None, []
    for start, stop in ((0, 1), (1, 5), (5, 9)):
        latent, caches = networks.encode(frames[:, start:stop], caches)
        found.append(latent)
        np.testing.assert_array_equal(networks.velocity(latents, held, 1), velocity)
        coded(networks, np.tanh(drawn(7, 3, 5, 32, 32)))
        torch.cuda.empty_cache()
    np.testing.assert_array_equal(np.stack(found, 1), alone[0])
    assert networks.graphs.count > 0
