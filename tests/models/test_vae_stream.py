"""The VAE one latent at a time: equal to the whole run, with caches that never change shape, and causal."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")

from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402

CONFIG = VaeConfig(base_width=8, res_blocks=1)
LATENTS = 4
# rms(err) / rms(ref), fp64: the same sums in another order, a few dozen roundings of 1e-16. Measured: 1.8e-15.
LIMIT = 4e-15


@pytest.fixture(scope="module")
def vae(randomise):
    return randomise(Vae(CONFIG)).double().requires_grad_(False)


@pytest.fixture(scope="module", params=[(2, 3, 5), (1, 7, 4)], ids=str)
def frames(request):
    """13 frames, batch 2 or 1; the size is odd in latents both ways, or one way."""
    batch, rows, columns = request.param
    random = torch.Generator().manual_seed(2)
    return torch.rand(batch, 3, 4 * LATENTS - 3, 8 * rows, 8 * columns, generator=random, dtype=torch.float64) * 2 - 1


def groups(frames):
    return [frames[:, :, :1], *frames[:, :, 1:].split(4, dim=2)]


def stream(step, inputs):
    """All outputs of a run, and the caches after each step."""
    outputs, caches = [], [None]
    for given in inputs:
        output, after = step(given, caches[-1])
        outputs.append(output)
        caches.append(after)
    return torch.cat(outputs, 2), caches[1:]


def relative_error(found, expected):
    assert found.shape == expected.shape
    return ((found - expected).square().mean().sqrt() / expected.square().mean().sqrt()).item()


@pytest.fixture(scope="module")
def both_ways(vae, frames):
    """Step, its inputs, and the whole run's output; for the encoder and for the decoder."""
    latents = vae.encode(frames)
    return [
        (vae.encoder_step, groups(frames), latents),
        (vae.decoder_step, latents.split(1, dim=2), vae.decode(latents)),
    ]


def test_stream_is_the_whole(both_ways):
    for step, inputs, whole in both_ways:
        assert relative_error(stream(step, inputs)[0], whole) < LIMIT


def test_whole_is_one_pass(vae, frames):
    calls = []
    coders = (vae.encoder, vae.decoder)
    hooks = [coder.register_forward_hook(lambda *_: calls.append(1)) for coder in coders]
    vae.decode(vae.encode(frames))
    for hook in hooks:
        hook.remove()
    assert len(calls) == 2


def test_first_output_and_groups_of_frames(both_ways):
    (encode, pictures, _), (decode, codes, _) = both_ways
    assert [part.shape[2] for part in pictures] == [1, 4, 4, 4]
    latent, caches = encode(pictures[0])
    assert latent.shape[2] == 1
    assert encode(pictures[1], caches)[0].shape[2] == 1
    picture, caches = decode(codes[0])
    assert picture.shape[2] == 1
    assert decode(codes[1], caches)[0].shape[2] == 4


def test_caches_keep_their_shapes_and_own_their_memory(both_ways):
    for step, inputs, _ in both_ways:
        _, caches = stream(step, inputs)
        assert len({tuple(cache.shape for cache in after) for after in caches}) == 1
        assert {cache.shape[2] for cache in caches[0]} <= {1, 2}
        for cache in caches[-1]:
            assert cache.untyped_storage().nbytes() == cache.numel() * cache.element_size()


def test_caches_begin_with_zeros(both_ways):
    """Before the first frame there were none; doubling in time does not even look back on the first."""
    (encode, pictures, _), (decode, codes, _) = both_ways
    _, caches = encode(pictures[0])
    assert sum(cache.shape[2] == 1 for cache in caches) == 2
    for cache in caches:
        assert cache[:, :, -1:].any()
        assert not cache[:, :, :-1].any()
    _, caches = decode(codes[0])
    assert all(not cache[:, :, 0].any() for cache in caches)
    assert sum(not cache.any() for cache in caches) == 2


def test_a_step_leaves_what_it_is_given_alone(both_ways):
    for step, inputs, _ in both_ways:
        _, caches = step(inputs[0])
        given = [inputs[1].clone(), *(cache.clone() for cache in caches)]
        first, again = (step(inputs[1], caches)[0] for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(given, [inputs[1], *caches], strict=True))
        assert torch.equal(first, again)


@pytest.mark.parametrize("latents_kept", [1, 3])
def test_the_future_does_not_reach_back(vae, frames, both_ways, latents_kept):
    (_, _, latents), (_, _, decoded) = both_ways
    frames_kept = 4 * latents_kept - 3
    poisoned = frames.clone()
    poisoned[:, :, frames_kept:] = torch.nan
    assert torch.equal(vae.encode(poisoned)[:, :, :latents_kept], latents[:, :, :latents_kept])
    poisoned = latents.clone()
    poisoned[:, :, latents_kept:] = torch.nan
    assert torch.equal(vae.decode(poisoned)[:, :, :frames_kept], decoded[:, :, :frames_kept])


def test_the_past_does_reach_forward(vae, frames, both_ways):
    (_, _, latents), (_, _, decoded) = both_ways
    changed = frames.clone()
    changed[:, :, 0] *= -1
    assert (vae.encode(changed)[:, :, 1] != latents[:, :, 1]).any()
    changed = latents.clone()
    changed[:, :, 0] *= -1
    assert (vae.decode(changed)[:, :, 1] != decoded[:, :, 1]).any()


def test_wrong_counts_are_refused(vae, frames):
    begin, *rest = groups(frames)
    latent, caches = vae.encoder_step(begin)
    with pytest.raises(ValueError, match="expected 1 frames for this step, got 4"):
        vae.encoder_step(rest[0])
    with pytest.raises(ValueError, match="expected 4 frames for this step, got 1"):
        vae.encoder_step(begin, caches)
    with pytest.raises(ValueError, match=f"expected {len(caches)} caches.* got {len(caches) - 1}"):
        vae.encoder_step(rest[0], caches[1:])
    with pytest.raises(ValueError, match="expected 1 latent for this step, got 2"):
        vae.decoder_step(latent.repeat(1, 1, 2, 1, 1))
