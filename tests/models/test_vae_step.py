"""The steps that are exported: equal to the VAE they were folded from, loadable alone, and traceable at any size."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")

from torch.export import Dim  # noqa: E402

from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import WAN_VAE, VaeConfig  # noqa: E402
from clear_rt.models.vae_step import DecoderStep, EncoderStep  # noqa: E402

CONFIG = VaeConfig(base_width=8, res_blocks=1)
ROWS, COLUMNS = 3, 5


@pytest.fixture(scope="module")
def vae(randomise):
    return randomise(Vae(CONFIG)).double().requires_grad_(False)


@pytest.fixture(scope="module")
def steps(vae):
    return EncoderStep.folded(vae), DecoderStep.folded(vae)


def drawn(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


def relative_error(found, expected):
    assert found.shape == expected.shape
    return ((found - expected).square().mean().sqrt() / expected.square().mean().sqrt()).item()


def test_folded_steps_are_the_model(vae, steps):
    frames = drawn(2, 3, 13, 8 * ROWS, 8 * COLUMNS)
    latents = drawn(2, 16, 4, ROWS, COLUMNS)
    encode, decode = steps
    encoder_caches, decoder_caches, coded, decoded = (), (), [], []
    for part in (frames[:, :, :1], *frames[:, :, 1:].split(4, dim=2)):
        latent, *encoder_caches = encode(part, *encoder_caches)
        coded.append(latent)
    for latent in latents.split(1, dim=2):
        pictures, *decoder_caches = decode(latent, *decoder_caches)
        decoded.append(pictures)
    assert relative_error(torch.cat(coded, 2), vae.encode(frames)) < 1e-12
    assert relative_error(torch.cat(decoded, 2), vae.decode(latents)) < 1e-12
    assert (len(encoder_caches), len(decoder_caches)) == (encode.cache_count, decode.cache_count)


def test_single_precision_folds_as_well(vae):
    single = Vae(CONFIG)
    single.load_state_dict(vae.state_dict())
    frames, latent = drawn(1, 3, 1, 24, 40, dtype=torch.float32), drawn(1, 16, 1, 3, 5, dtype=torch.float32)
    found = EncoderStep.folded(single)(frames)[0], DecoderStep.folded(single)(latent)[0]
    assert {tensor.dtype for tensor in found} == {torch.float32}
    assert relative_error(found[0], single.encode(frames)) < 2e-6
    assert relative_error(found[1], single.decode(latent)) < 2e-6


def test_steps_load_from_one_file_of_weights(steps):
    files = [step.state_dict() for step in steps]
    assert not files[0].keys() & files[1].keys()
    both = {name: tensor for file in files for name, tensor in file.items()}
    for step, example in zip(steps, (drawn(1, 3, 1, 8, 16), drawn(1, 16, 1, 1, 2)), strict=True):
        alone = type(step)(CONFIG).double()
        alone.load_state_dict({name: both[name] for name in alone.state_dict()})
        assert all(torch.equal(a, b) for a, b in zip(alone(example), step(example), strict=True))


def test_folding_copies_nothing_but_the_folded(vae, steps):
    for step, original in zip(steps, (vae.encoder, vae.decoder), strict=True):
        held = {tensor.data_ptr() for tensor in original.state_dict().values()}
        own = {name for name, tensor in step.state_dict().items() if tensor.data_ptr() not in held}
        assert {name.split(".")[0] for name in own} <= {"conv1", "conv2"}
        assert len(own) == 2
        assert not any(tensor.requires_grad for tensor in step.parameters())


def test_wan_has_24_and_32_caches():
    with torch.device("meta"):
        assert (EncoderStep(WAN_VAE).cache_count, DecoderStep(WAN_VAE).cache_count) == (24, 32)


def test_wrong_counts_are_refused(steps):
    encode, decode = steps
    with pytest.raises(ValueError, match="expected 1 frames with 0 caches, got 4"):
        encode(drawn(1, 3, 4, 8, 8))
    with pytest.raises(ValueError, match="caches, as the step before returned them, got 1"):
        encode(drawn(1, 3, 4, 8, 8), drawn(1, 3, 2, 8, 8))
    with pytest.raises(ValueError, match="expected 1 latent for a step, got 2"):
        decode(drawn(1, 16, 2, 1, 1))


def sized(tensors, rows=1, columns=1):
    """Others of the same shapes, but with so many times the height and width."""
    return tuple(drawn(*t.shape[:3], t.shape[3] * rows, t.shape[4] * columns) for t in tensors)


@pytest.mark.parametrize("which", [0, 1], ids=["encoder", "decoder"])
def test_one_trace_serves_every_size(steps, which):
    step = steps[which]
    begin, proceed = [
        (drawn(1, 3, 1, 8 * ROWS, 8 * COLUMNS), drawn(1, 3, 4, 8 * ROWS, 8 * COLUMNS)),
        (drawn(1, 16, 1, ROWS, COLUMNS), drawn(1, 16, 1, ROWS, COLUMNS)),
    ][which]
    rows, columns = Dim("rows", min=1, max=500), Dim("columns", min=1, max=500)
    for inputs in ((begin,), (proceed, *step(begin)[1:])):
        sizes = [{3: t.shape[3] // ROWS * rows, 4: t.shape[4] // COLUMNS * columns} for t in inputs]
        traced = torch.export.export(step, inputs, dynamic_shapes=(sizes[0], tuple(sizes[1:]))[: len(inputs)]).module()
        for larger in (sized(inputs), sized(inputs, rows=2, columns=3)):
            torch.testing.assert_close(traced(*larger), step(*larger), rtol=0, atol=1e-12)
