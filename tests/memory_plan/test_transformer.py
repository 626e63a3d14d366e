"""The transformer's plan beside the baked model itself: parameters, bytes of weights, and what a step allocates."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the model is torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from clear_rt.bench.work_dit import DitShape  # noqa: E402
from clear_rt.kernels.block_ops import use_kernels  # noqa: E402
from clear_rt.memory_plan import transformer  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.fp8 import Fp8Linear, empty_fp8  # noqa: E402
from clear_rt.models.fp8_policy import Fp8Policy, quantized_linears  # noqa: E402
from clear_rt.models.narrowed import narrowed  # noqa: E402
from clear_rt.runtime.device import gpu_count  # noqa: E402
from tests.memory_plan.allocations import Allocations  # noqa: E402

SHAPES = {
    "head of Wan": DitShape(width=64, heads=2, layers=5, ffn_width=96, text_keys=7, occlusion=True),
    "no occlusion": DitShape(width=48, heads=3, layers=2, ffn_width=192, text_keys=3),
    "one block": DitShape(width=32, heads=1, layers=1, ffn_width=64, latent_channels=4, text_keys=5),
    "narrow": DitShape(width=64, heads=2, layers=4, ffn_width=16, text_keys=5, occlusion=True),
}
WAN = DitShape(width=1536, heads=12, layers=30, ffn_width=8960, text_keys=39, occlusion=True)
TIMESTEPS = 6


def baked(shape, *, fp8=False, device="cpu"):
    """In bfloat16, with linears of the policy in FP8 or without."""
    sizes = {name: getattr(shape, name) for name in shape.__dataclass_fields__ if name != "text_keys"}
    config = BakedConfig(text_keys=shape.text_keys, timesteps=TIMESTEPS, **sizes)
    with torch.device(device):
        dit = BakedDit(config)
    dit = dit.requires_grad_(False).eval()
    if fp8:
        empty_fp8(dit, quantized_linears(config, Fp8Policy()))
    return narrowed(dit, torch.bfloat16)


@pytest.mark.parametrize("fp8", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_weights_to_the_byte(name, fp8):
    shape = SHAPES[name]
    dit = baked(shape, fp8=fp8)
    held = sum(tensor.nbytes for tensor in (*dit.parameters(), *dit.buffers()))
    assert transformer.weight_bytes(shape, TIMESTEPS, fp8=fp8) == held
    if not fp8:
        assert transformer.parameters(shape, TIMESTEPS) == sum(p.numel() for p in dit.parameters())


def test_the_real_size():
    shape, dit = WAN, baked(WAN, device="meta")
    assert transformer.parameters(shape, TIMESTEPS) == sum(p.numel() for p in dit.parameters())
    held = sum(tensor.nbytes for tensor in (*dit.parameters(), *dit.buffers()))
    assert transformer.weight_bytes(shape, TIMESTEPS, fp8=False) == held
    # reference.md 1.7: so many parameters but for prompt, time, occlusion head and betas.
    apart = 30 * 39 * (2 * 1536 + 1) + TIMESTEPS * 7 * 1536 + (9 * 1536 * 64 + 64 + 65) + 14 * 12
    assert transformer.parameters(shape, TIMESTEPS) - apart == pytest.approx(1_251_824_704, rel=1e-3)


def empty_attention(q, k, v, bias):
    """As large as the kernels' result; the logarithms of their sums, a number for each head, are left out."""
    return q.new_empty(q.shape)


def empty_product(x, weight, weight_scale, input_scale, bias=None):
    return bias.new_empty(*x.shape[:-1], weight.shape[0])


@pytest.mark.skipif(gpu_count() > 0, reason="kernels go by Triton's interpreter where there is no GPU")
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("fp8", [False, True])
@pytest.mark.parametrize("name", [*SHAPES, "Wan"])
def test_what_a_step_needs(name, fp8):
    """On tensors without memory: kernels say what they return, and nothing is computed."""
    shape, grid = (WAN, (21, 24, 160)) if name == "Wan" else (SHAPES[name], (3, 16, 20))
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        dit = baked(shape, fp8=fp8)
        use_kernels(dit)
        dit.attend = empty_attention
        for module in dit.modules():
            if isinstance(module, Fp8Linear):
                module.product = empty_product
        latents = torch.zeros(1, shape.latent_channels, *grid, dtype=torch.bfloat16)
        control, row = dit.control(latents), torch.tensor(2)
        # What kernels keep of weights is made the first time.
        dit(latents, control, row)
        with Allocations() as allocations:
            dit(latents.clone(), dit.control(latents), row)
    tokens = control.shape[1]
    planned = transformer.step_bytes(shape, tokens, fp8=fp8)
    # Some rows of the width, and of what is held for a head and token: the bias and its factors.
    small = 2 * 40 * shape.width + 3 * 4 * shape.heads * tokens
    assert planned <= allocations.peak <= planned + small
    assert small < 0.1 * planned


def test_windows_by_hand():
    shape = DitShape(width=10, heads=1, layers=1, ffn_width=4, latent_channels=3, text_keys=1)
    # Of twelve values of a patch: latents and control in two bytes, velocity in four; control of two windows in both,
    # and in float32 latents and sums of four.
    assert transformer.window_bytes(shape, 7, 2, fp8=False) == 7 * 12 * (2 * 2 + 4 + 2 * 6 + 4 * 2 * 4)
    assert transformer.window_bytes(shape, 7, 2, fp8=True) == 7 * (12 * (2 * 2 + 4 + 2 * 6 + 4 * 2 * 4) + 4)
