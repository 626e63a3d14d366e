"""Each thing that baking works out beforehand, against the model that works it out every time, in float64."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest

torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[train]'")

from clear_rt.export.bake import bake  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.dit import Dit  # noqa: E402
from clear_rt.models.dit_config import WAN_FUN_CONTROL, DitConfig  # noqa: E402
from clear_rt.models.patches import patchify  # noqa: E402

# Sums of at most a few thousand products in float64: 2**-53 times their number, with room for what follows.
EXACT = 1e-12
SMALL = DitConfig(
    width=48, heads=2, layers=4, ffn_width=70, text_width=20, text_tokens=12, freq_width=32,
    image_width=16, image_tokens=5, occlusion=True,
)  # fmt: skip
TIMESTEPS = (1000.0, 20000 / 21, 5000 / 9)
CASES = {
    "padding of several tokens": (SMALL, 7),
    "padding of one token": (SMALL, 11),
    "no padding": (SMALL, 12),
    "a prompt of one token": (SMALL, 1),
    "no image branch": (replace(SMALL, image_width=0, ref_conv=False), 7),
    "no slot for a start image": (replace(SMALL, slots=2), 7),
    "no occlusion head": (replace(SMALL, occlusion=False), 7),
    "heads of 20, split 4 + 3 + 3": (replace(SMALL, width=40), 7),
}


def relative(found, expected) -> float:
    return ((found - expected).square().mean() / expected.square().mean()).sqrt().item()


def double(config, randomise):
    dit = randomise(Dit(config)).double().eval().requires_grad_(False)
    for block in dit.blocks:
        if block.self_attn.occlusion_beta is not None:
            block.self_attn.occlusion_beta.mul_(20)
    return dit


def padded(prompt, config):
    text = torch.zeros(1, config.text_tokens, config.text_width, dtype=prompt.dtype)
    text[0, : len(prompt)] = prompt
    return text


def inputs(config, grid=(3, 6, 10)):
    random = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, config.latent_channels, *grid, generator=random, dtype=torch.float64).unbind()


@pytest.mark.parametrize("case", CASES)
def test_baked_equals_unbaked(case, randomise):
    config, tokens = CASES[case]
    dit = double(config, randomise)
    prompt = torch.randn(tokens, config.text_width, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    baked = bake(dit, prompt, TIMESTEPS)
    latents, control = inputs(config)
    for row, timestep in enumerate(TIMESTEPS):
        told = torch.tensor([timestep], dtype=torch.float64)
        expected = dit(latents, control, told, padded(prompt, config)).velocity
        assert relative(baked(latents, baked.control(control), torch.tensor(row)), expected) < EXACT


def test_the_padding_is_one_key_that_counts_for_all(randomise):
    """512 - P equal logits x add ln(512 - P) to one of them; forgetting it changes what comes out."""
    dit = double(SMALL, randomise)
    prompt = torch.randn(5, SMALL.text_width, dtype=torch.float64)
    baked = bake(dit, prompt, TIMESTEPS)
    layer, block = baked.blocks[2].cross_attn, dit.blocks[2].cross_attn
    assert layer.bias.tolist() == [0.0] * 5 + [log(7)]
    x = torch.randn(1, 9, SMALL.width, dtype=torch.float64)
    words, image = dit.text_embedding(padded(prompt, SMALL)), dit.image_tokens(None, 1)
    expected = block(x, words, image, dit.attend)
    assert relative(layer(x, dit.attend, baked.ops), expected) < EXACT
    layer.bias.zero_()
    assert relative(layer(x, dit.attend, baked.ops), expected) > 1e-3


def test_the_clip_branch_is_a_bias(randomise):
    """Features of zero give keys that are all the same, so that their softmax is uniform whatever is asked."""
    dit = double(SMALL, randomise)
    block = dit.blocks[0].cross_attn
    image = dit.image_tokens(None, 1)
    assert relative(image, image[:, :1].expand_as(image)) < EXACT
    x = torch.randn(1, 9, SMALL.width, dtype=torch.float64)
    words = torch.randn(1, SMALL.text_tokens, SMALL.width, dtype=torch.float64)
    added = block(x, words, image, dit.attend) - block(x, words, None, dit.attend)
    constant = torch.nn.functional.linear(block.v_img(image[0, 0]), block.o.weight)
    assert relative(added, constant.expand_as(added)) < EXACT


def test_the_table_of_timesteps_is_the_time_embedding(randomise):
    dit = double(SMALL, randomise)
    baked = bake(dit, torch.randn(3, SMALL.text_width, dtype=torch.float64), TIMESTEPS)
    for row, timestep in enumerate(TIMESTEPS):
        head, rows = dit.embedded_time(torch.tensor([timestep], dtype=torch.float64))
        assert relative(baked.time[row, :6], rows[0]) < EXACT
        assert relative(baked.time[row, 6], head[0]) < EXACT


def test_the_patch_embedding_falls_into_two_halves(randomise):
    dit = double(SMALL, randomise)
    baked = bake(dit, torch.randn(3, SMALL.text_width, dtype=torch.float64), TIMESTEPS)
    latents, control = inputs(SMALL)
    whole = dit.patch_embedding(torch.cat((latents, control, torch.zeros_like(latents)), 1)).flatten(2).transpose(1, 2)
    assert relative(baked.embed(patchify(latents)) + baked.control(control), whole) < EXACT


def test_a_negative_beta_bakes_to_plain_attention(randomise):
    dit = double(SMALL, randomise)
    for block in dit.blocks:
        if block.self_attn.occlusion_beta is not None:
            block.self_attn.occlusion_beta.fill_(-1)
    baked = bake(dit, torch.randn(3, SMALL.text_width, dtype=torch.float64), TIMESTEPS)
    assert not baked.config.occlusion
    assert baked.occlusion_head is None
    assert not any("beta" in name or "occlusion" in name for name in baked.state_dict())


def test_one_head_that_weighs_keeps_the_map(randomise):
    dit = double(SMALL, randomise)
    betas = [block.self_attn.occlusion_beta for block in dit.blocks if block.self_attn.occlusion_beta is not None]
    for beta in betas:
        beta.fill_(-1)
    betas[-1][0] = 2
    baked = bake(dit, torch.randn(3, SMALL.text_width, dtype=torch.float64), TIMESTEPS)
    assert baked.config.occlusion
    assert baked.blocks[-1].self_attn.beta.tolist() == [2, *[0] * (len(betas[-1]) - 1)]


def test_weights_are_shared_not_copied(randomise):
    dit = double(SMALL, randomise)
    baked = bake(dit, torch.randn(3, SMALL.text_width, dtype=torch.float64), TIMESTEPS)
    for source, target in zip(dit.blocks, baked.blocks, strict=True):
        assert source.ffn[0].weight.data_ptr() == target.ffn[0].weight.data_ptr()
        assert source.self_attn.o.weight.data_ptr() == target.self_attn.o.weight.data_ptr()


def test_parameters_left_of_the_real_model():
    """reference.md 1.7: 1,251,824,704 without the tables of prompt and time, which this counts besides."""
    keys, rows = 39, 22
    with torch.device("meta"):
        baked = BakedDit(BakedConfig.of(WAN_FUN_CONTROL, text_keys=keys, timesteps=rows))
    tables = sum(p.numel() for n, p in baked.named_parameters() if n == "time" or n.endswith((".k", ".v", "attn.bias")))
    assert tables == rows * 7 * 1536 + 30 * (2 * keys * 1536 + keys)
    assert sum(p.numel() for p in baked.parameters()) - tables == 1_251_824_704


@pytest.mark.parametrize("shape", [(13, 20), (0, 20), (3, 21)])
def test_a_prompt_that_does_not_fit_is_refused(shape, randomise):
    with pytest.raises(ValueError, match=r"expected a prompt of 1 to 12 tokens x 20, got"):
        bake(double(SMALL, randomise), torch.zeros(shape, dtype=torch.float64), TIMESTEPS)
