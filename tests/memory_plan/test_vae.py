"""The VAE's plan beside the streamed coders themselves: what they hold, to the byte, and what a step needs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the coders are torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the coders know the kernels' sizes: pip install '.[cuda]'")

from clear_rt.kernels import causal_conv  # noqa: E402
from clear_rt.memory_plan import vae_layers  # noqa: E402
from clear_rt.memory_plan.vae import decoder_memory, encoder_memory, shared_values  # noqa: E402
from clear_rt.models import vae_blocks  # noqa: E402
from clear_rt.models.narrowed import narrowed  # noqa: E402
from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import WAN_VAE, VaeConfig  # noqa: E402
from clear_rt.models.vae_step import DecoderStep, EncoderStep  # noqa: E402
from clear_rt.runtime.cuda.vae_layers import Buffers  # noqa: E402
from clear_rt.runtime.cuda.vae_ops import TorchVaeOps  # noqa: E402
from clear_rt.runtime.cuda.vae_stream import StreamedDecoder, StreamedEncoder  # noqa: E402
from tests.memory_plan.allocations import Allocations  # noqa: E402

CONFIGS = {
    "as Wan": VaeConfig(base_width=8, res_blocks=2),
    "of two stages": VaeConfig(base_width=6, multipliers=(1, 3), res_blocks=1, temporal_down=(True,)),
    "of even stages": VaeConfig(base_width=4, multipliers=(1, 1, 2), res_blocks=1, temporal_down=(True, False)),
    "wide at the latents": VaeConfig(base_width=4, multipliers=(1, 2, 8, 8), res_blocks=1, latent_channels=40,
                                     latent_means=(0.0,) * 40, latent_stds=(1.0,) * 40),
}  # fmt: skip
HEIGHT_PX, WIDTH_PX = 48, 80


class Silent:
    """Takes the memory that the kernels take: none."""

    def norm_silu(self, x, gamma, joined, kept, *, begins): ...

    def conv(self, x, weight, bias, out, taps, residual=None): ...


class Coders:
    """Both coders of a VAE in bfloat16 on shared buffers; `run` takes their steps as the engine captures them."""

    def __init__(self, config, ops):
        self.config, vae = config, Vae(config)
        steps = EncoderStep.folded(vae), DecoderStep.folded(vae)
        self.steps = [narrowed(step, torch.bfloat16) for step in steps]
        self.buffers = Buffers(self.steps[0].conv1.weight)
        self.coders = [
            kind(step, ops, self.buffers)
            for kind, step in zip((StreamedEncoder, StreamedDecoder), self.steps, strict=True)
        ]

    def inputs(self, begins):
        config = self.config
        frames, px = 1 if begins else config.latent_frames, config.latent_px
        yield torch.zeros(frames, HEIGHT_PX, WIDTH_PX, 3, dtype=torch.bfloat16)
        shape = (1, HEIGHT_PX // px, WIDTH_PX // px, config.latent_channels)
        yield torch.zeros(shape, dtype=torch.bfloat16)

    @torch.no_grad()
    def run(self):
        for i, coder in enumerate(self.coders):
            for begins in (False, True):
                coder(list(self.inputs(begins))[i], begins)
        return self


def held(part, of_modules=False):
    """All tensors that a coder's layers hold by themselves, each storage once, by the attribute's name."""
    found, seen, waiting = {}, set(), [("", part)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            found[value.untyped_storage().data_ptr()] = (name, value.untyped_storage().nbytes())
        elif isinstance(value, (list, tuple)):
            waiting += [(name, item) for item in value]
        elif not isinstance(value, (torch.nn.Module, Buffers)) and hasattr(value, "__dict__") and id(value) not in seen:
            seen.add(id(value))
            waiting += [(attribute, item) for attribute, item in vars(value).items()]
    return found


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def coders(request):
    return Coders(CONFIGS[request.param], TorchVaeOps()).run()


@pytest.fixture(scope="module")
def plans(coders):
    return [memory(coders.config, HEIGHT_PX, WIDTH_PX) for memory in (encoder_memory, decoder_memory)]


def test_shared_buffers_to_the_byte(coders, plans):
    assert 2 * shared_values(*plans) == coders.buffers.bytes
    assert shared_values(*plans) < sum(shared_values(plan) for plan in plans)


def test_frames_kept_to_the_byte(coders, plans):
    for coder, plan in zip(coders.coders, plans, strict=True):
        kept = sum(size for name, size in held(coder).values() if name == "_kept")
        assert 2 * plan.kept == kept > 0


def test_weights_to_the_byte(coders, plans):
    for coder, step, plan in zip(coders.coders, coders.steps, plans, strict=True):
        own = {parameter.untyped_storage().data_ptr() for parameter in step.parameters()}
        laid_out = [size for at, (name, size) in held(coder).items() if name != "_kept" and at not in own]
        assert 2 * plan.parameters == sum(parameter.nbytes for parameter in step.parameters())
        assert 2 * plan.laid_out + 4 * plan.floats == sum(laid_out)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_a_step_needs_to_the_byte(name):
    coders = Coders(CONFIGS[name], Silent()).run()
    for coder, given, memory in zip(coders.coders, coders.inputs(False), (encoder_memory, decoder_memory), strict=True):
        with torch.no_grad(), Allocations() as allocations:
            coder(given, False)
        planned = 2 * memory(coders.config, HEIGHT_PX, WIDTH_PX).alive
        # What enters a coder, three channels wide, was there before.
        assert allocations.peak == planned


def test_real_sizes():
    """reference.md 3.1 counts both halves of the 1x1x1 convolution in the encoder, of which 16 of 32 outputs go on."""
    encoder, decoder = encoder_memory(WAN_VAE, 192, 1280), decoder_memory(WAN_VAE, 192, 1280)
    assert decoder.parameters == 73_295_603
    assert encoder.parameters == 53_596_928 - (32 * 16 + 16)
    with torch.device("meta"):
        steps = EncoderStep(WAN_VAE), DecoderStep(WAN_VAE)
    assert [sum(p.numel() for p in step.parameters()) for step in steps] == [encoder.parameters, decoder.parameters]
    # Decoding, the last stage holds two past frames of 96 channels for seven convolutions.
    assert decoder.kept > 7 * 2 * 192 * 1280 * 96
    # Three residual blocks' worth of four frames at full size.
    assert encoder.alive == decoder.alive == 3 * 4 * 192 * 1280 * 96


def test_numbers_are_those_of_the_layers():
    assert vae_layers.LEAST_CHANNELS == causal_conv.LEAST_CHANNELS
    assert vae_layers.PAST_FRAMES == vae_blocks.PAST_FRAMES
