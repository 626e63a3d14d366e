"""The VAE against diffusers' on the same random weights, and what it refuses."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")

from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_blocks import RmsNorm  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from clear_rt.models.vae_names import diffusers_names  # noqa: E402

CONFIGS = {
    "one block": VaeConfig(base_width=8, res_blocks=1),
    "two blocks": VaeConfig(base_width=8, res_blocks=2),
    "three stages": VaeConfig(base_width=6, multipliers=(2, 1, 3), res_blocks=1, temporal_down=(True, True)),
}
# rms(err) / rms(ref): a few dozen roundings in a row, each of eps / 2. Measured: 8.5e-7 and 1.8e-15.
LIMIT = {torch.float32: 2e-6, torch.float64: 4e-15}
# Frames, latent rows, latent columns: one frame; odd and even; long and a single row.
SIZES = pytest.mark.parametrize("size", [(1, 3, 5), (5, 7, 4), (17, 1, 3)], ids=str)
BATCH = 2


@pytest.fixture(scope="module", params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture(scope="module", params=LIMIT, ids=str)
def vae(request, config, randomise):
    vae = randomise(Vae(config))
    for tensor in vae.decoder.head[2].parameters():
        tensor.data *= 0.1  # so that frames stay within -1 and 1, where diffusers clips them
    return vae.to(request.param).requires_grad_(False)


@pytest.fixture(scope="module")
def reference(config, vae):
    """Diffusers' VAE with the weights of ours."""
    diffusers = pytest.importorskip("diffusers", reason="parity needs diffusers: pip install '.[export]'")
    other = diffusers.AutoencoderKLWan(
        base_dim=config.base_width,
        dim_mult=list(config.multipliers),
        num_res_blocks=config.res_blocks,
        temperal_downsample=list(config.temporal_down),
    )
    names = diffusers_names(config)
    other.load_state_dict({names[name]: tensor for name, tensor in vae.state_dict().items()})
    for module in other.modules():
        if isinstance(module, torch.nn.Upsample):
            module.__class__ = torch.nn.Upsample  # theirs rounds to float32 on the way, float64 as well
    return other.to(vae.conv1.weight.dtype).requires_grad_(False)


def relative_error(found, expected):
    assert found.shape == expected.shape
    assert found.isfinite().all()
    return ((found - expected).square().mean().sqrt() / expected.square().mean().sqrt()).item()


def noise(*shape, like):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=like.conv1.weight.dtype)


def statistics(config, like):
    values = (config.latent_means, config.latent_stds)
    return torch.tensor(values, dtype=like.conv1.weight.dtype)[:, None, :, None, None, None]


@SIZES
def test_encode_is_diffusers(vae, reference, config, size):
    frames, rows, columns = size
    picture = noise(BATCH, 3, frames, rows * config.latent_px, columns * config.latent_px, like=vae).clamp(-1, 1)
    mean, std = statistics(config, vae)
    expected = (reference.encode(picture).latent_dist.mean - mean) / std
    assert relative_error(vae.encode(picture), expected) < LIMIT[picture.dtype]


@SIZES
def test_decode_is_diffusers(vae, reference, config, size):
    frames, rows, columns = size
    latents = noise(BATCH, 16, (frames - 1) // config.latent_frames + 1, rows, columns, like=vae)
    mean, std = statistics(config, vae)
    expected = reference.decode(latents * std + mean).sample
    assert 0.01 < expected.std() < expected.abs().max() < 1
    assert relative_error(vae.decode(latents), expected) < LIMIT[latents.dtype]


def test_decoded_frames_are_not_clipped(randomise):
    vae = randomise(Vae(CONFIGS["one block"])).requires_grad_(False)
    vae.decoder.head[2].weight.mul_(100)
    assert vae.decode(noise(1, 16, 2, 2, 2, like=vae)).abs().max() > 2


def test_names_are_diffusers_both_ways(config, vae, reference):
    names = diffusers_names(config)
    theirs = reference.state_dict()
    assert names.keys() == vae.state_dict().keys()
    assert sorted(names.values()) == sorted(theirs)
    back = Vae(config)
    back.load_state_dict({ours: theirs[name] for ours, name in names.items()})
    assert all(torch.equal(tensor.to(back.conv1.weight.dtype), back.state_dict()[name])
               for name, tensor in vae.state_dict().items())  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 4, 16, 16), "4k \\+ 1 frames, got 4"),
        ((1, 3, 6, 16, 16), "4k \\+ 1 frames, got 6"),
        ((1, 3, 0, 16, 16), "got \\[1, 3, 0, 16, 16\\]"),
        ((1, 3, 5, 20, 16), "multiples of 8"),
        ((1, 3, 5, 16, 15), "multiples of 8"),
        ((1, 4, 5, 16, 16), "\\[B, 3, F, H, W\\]"),
        ((3, 5, 16, 16), "\\[B, 3, F, H, W\\]"),
    ],
)
def test_frames_refused(shape, said):
    with pytest.raises(ValueError, match=said):
        Vae(CONFIGS["one block"]).encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 8, 2, 2, 2), (16, 2, 2, 2), (1, 16, 0, 2, 2)])
def test_latents_refused(shape):
    with pytest.raises(ValueError, match="expected latents \\[B, 16, L, h, w\\]"):
        Vae(CONFIGS["one block"]).decode(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_norm_of_reduced_precision_does_not_overflow(dtype):
    norm = RmsNorm(96, axes=3).to(dtype)
    x = torch.full((1, 96, 1, 2, 2), 1000.0, dtype=dtype)
    assert torch.allclose(norm(x).float(), torch.ones(()), rtol=2**-7)


def test_norm_of_nothing_has_a_gradient():
    x = torch.zeros(1, 4, 1, 2, 2, requires_grad=True)
    norm = RmsNorm(4, axes=3)
    norm(x).sum().backward()
    assert x.grad.isfinite().all()
    assert norm.gamma.grad.isfinite().all()
