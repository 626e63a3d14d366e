"""The VAE's first weights are a linear codec: it reconstructs, exactly where its channels suffice."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from training.vae_loss import psnr_db  # noqa: E402
from training.vae_start import linear_start  # noqa: E402

ZEROS, ONES = (0.0,) * 16, (1.0,) * 16
SMALL = VaeConfig(base_width=8, multipliers=(1, 2, 5, 5), res_blocks=1, latent_means=ZEROS, latent_stds=ONES)


def _waves(count, frames, side, seed):
    """Clips of plane waves longer than a block of 8 px that drift, [count, 3, frames, side, side] in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    clips = torch.zeros(count, 3, frames, side, side)
    for clip in clips:
        direction, speed, phase = torch.rand(3, generator=generator)
        length = 24 + 40 * torch.rand(1, generator=generator)
        colour = torch.rand(3, generator=generator)[:, None, None] * 0.8
        for t in range(frames):
            across = x * (3.1 * direction).cos() + y * (3.1 * direction).sin() + 2 * speed * t
            clip[:, t] = colour * (6.28 * (across / length + phase)).sin()
    return clips


def test_smooth_moving_clips_come_back():
    torch.manual_seed(0)
    vae = Vae(SMALL)
    linear_start(vae, _waves(12, 9, 48, seed=1))
    unseen = _waves(4, 9, 48, seed=2)
    with torch.no_grad():
        latents = vae.encode(unseen)
        made = vae.decode(latents)
    assert latents.shape == (4, 16, 3, 6, 6)
    assert psnr_db((made - unseen).square().mean().item()) > 24
    assert 0.2 < latents.std() < 3


def test_a_flat_picture_keeps_its_colour():
    torch.manual_seed(0)
    vae = Vae(SMALL)
    linear_start(vae, _waves(12, 9, 48, seed=1))
    flat = torch.tensor([0.5, -0.3, 0.1])[None, :, None, None, None].expand(1, 3, 5, 32, 32)
    with torch.no_grad():
        made = vae.decode(vae.encode(flat))
    assert (made - flat)[..., 8:-8, 8:-8].abs().max() < 0.1


def test_every_weight_gets_a_gradient_after_one_step():
    torch.manual_seed(0)
    vae = Vae(SMALL)
    clips = _waves(6, 9, 32, seed=1)
    linear_start(vae, clips)
    optimiser = torch.optim.SGD(vae.parameters(), lr=1e-4)
    for _ in range(2):
        optimiser.zero_grad()
        (vae.decode(vae.encode(clips)) - clips).abs().mean().backward()
        optimiser.step()
    # The log variances are no part of this pass.
    still = [n for n, p in vae.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


@pytest.mark.parametrize(("base", "multipliers", "stage"), [(8, (1, 2, 4, 4), "coarsest"), (6, (1, 2, 8, 8), "finest")])
def test_too_few_channels_are_a_sentence(base, multipliers, stage):
    config = VaeConfig(base_width=base, multipliers=multipliers, res_blocks=1, latent_means=ZEROS, latent_stds=ONES)
    with pytest.raises(ConfigError, match=f"at its {stage} size"):
        linear_start(Vae(config), torch.zeros(1, 3, 5, 16, 16))
