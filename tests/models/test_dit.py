"""The transformer against diffusers' WanTransformer3DModel with the same weights, and its inputs and outputs in order.

Bounds. diffusers computes sinusoids in float32: an angle of t * f near 1000 is off by up to 1000 * 2**-23 = 1.2e-4, but
only the fastest of the frequencies are that far round, which leaves about 1e-5 of the embedding's length, and less
behind the gates. It also keeps residuals and norms in float32 where weights are float64. So float64 says no more than
float32 against diffusers as it is; the third comparison takes both out of it and must then agree to float64.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from clear_rt.models.dit import Dit, sinusoids  # noqa: E402
from clear_rt.models.dit_config import WAN_FUN_CONTROL, WAN_T2V, DitConfig  # noqa: E402
from clear_rt.models.dit_names import diffusers_names, dit_shapes  # noqa: E402
from clear_rt.models.patches import unpatchify  # noqa: E402
from tests.signature import signature  # noqa: E402

LIMIT = 1e-5
SMALL = DitConfig(width=96, heads=4, layers=3, ffn_width=200, text_width=64, freq_width=64, image_width=40)
CONFIGS = {
    "two heads of 128 as in Wan": replace(SMALL, width=256, heads=2),
    "heads of 24, even split": SMALL,
    "heads of 20, split 4 + 3 + 3": replace(SMALL, width=80),
    "heads of 38, split 7 + 6 + 6": replace(SMALL, width=38, heads=1, layers=1),
    "text to video": replace(SMALL, slots=1, image_width=0, ref_conv=False),
    "control without image branch": replace(SMALL, image_width=0, slots=2, latent_channels=6),
}
# Latent frames, height and width: one token; odd grids of 3x1x5 and 5x3x7 tokens.
SIZES = [(1, 2, 2), (3, 2, 10), (5, 6, 14)]
TIMESTEPS = [1000.0, 952.38, 555.6]


def relative(found, expected) -> float:
    found, expected = found.double(), expected.double()
    return ((found - expected).square().mean() / expected.square().mean()).sqrt().item()


def randomized(model, seed=0):
    """Every parameter random and none of them trivial: biases of 0, norms of 1 and modulations near 0 hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5, generator=generator)
            elif parameter.ndim == 1 or "modulation" in name:
                parameter.normal_(0, 0.3, generator=generator)
            else:
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
    return model.eval().requires_grad_(False)


def theirs(ours):
    """diffusers' model with the weights of ours."""
    models = pytest.importorskip("diffusers", reason="the other implementation: pip install '.[export]'")
    c = ours.config
    with_image = {"image_dim": c.image_width, "added_kv_proj_dim": c.width} if c.image_width else {}
    model = models.WanTransformer3DModel(
        num_attention_heads=c.heads, attention_head_dim=c.head_width, in_channels=c.slots * c.latent_channels,
        out_channels=c.latent_channels, text_dim=c.text_width, freq_dim=c.freq_width, ffn_dim=c.ffn_width,
        num_layers=c.layers, eps=c.eps, **with_image,
    )  # fmt: skip
    names = diffusers_names(c)
    model.load_state_dict({names[n]: t for n, t in ours.state_dict().items() if not n.startswith("ref_conv.")})
    return model.to(ours.patch_embedding.weight.dtype).eval().requires_grad_(False)


def inputs(config, size, dtype):
    """Batch 2, prompts of 9 and 40 tokens; zeros pad both to 512, which diffusers' image branch insists on."""
    generator = torch.Generator().manual_seed(3)
    latents, control = torch.randn((2, 2, config.latent_channels, *size), generator=generator, dtype=torch.float64)
    text = torch.randn((2, 512, config.text_width), generator=generator, dtype=torch.float64)
    text[0, 9:] = text[1, 40:] = 0
    return latents.to(dtype), control.to(dtype) if config.slots > 1 else None, text.to(dtype)


def both(ours, other, size, timestep, picture=0.0):
    """Results of the two; `picture` is the size of random CLIP features, which are zeros for CLEAR."""
    config, dtype = ours.config, ours.patch_embedding.weight.dtype
    latents, control, text = inputs(config, size, dtype)
    given = [latents] if control is None else [latents, control]
    slots = torch.cat(given + [torch.zeros_like(latents)] * (config.slots - len(given)), 1)
    features = picture * torch.randn(2, config.image_tokens, config.image_width, dtype=dtype)
    image = features if config.image_width else None
    timesteps = torch.full((2,), timestep, dtype=torch.float32)
    return ours(latents, control, timesteps, text, image).velocity, other(slots, timesteps, text, image).sample


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_it_is_the_model_of_diffusers(config, dtype):
    ours = randomized(Dit(config)).to(dtype)
    other = theirs(ours)
    for size in SIZES:
        for timestep in TIMESTEPS:
            found, expected = both(ours, other, size, timestep)
            assert found.shape == expected.shape == (2, config.latent_channels, *size)
            assert relative(found, expected) < LIMIT, (size, timestep)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_it_is_the_model_of_diffusers_to_float64_once_that_computes_in_float64(config, monkeypatch):
    """With diffusers' detours through float32 and its float32 sinusoids taken out, nothing but rounding is left."""
    models = pytest.importorskip("diffusers", reason="the other implementation: pip install '.[export]'")
    narrow = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda x: x if x.dtype == torch.float64 else narrow(x))
    blocks = models.models.transformers.transformer_wan
    monkeypatch.setattr(blocks.Timesteps, "forward", lambda self, t: sinusoids(t, self.num_channels))
    ours = randomized(Dit(config)).double()
    other = theirs(ours)
    for size in SIZES:
        for picture in (0.0, 0.01):  # small enough for the epsilon of the image's norm to show
            found, expected = both(ours, other, size, 952.38, picture)
            assert expected.dtype == torch.float64
            assert relative(found, expected) < 1e-13


@pytest.mark.parametrize("timestep", [0.0, 1.0, 555.6, 952.38, 1000.0])
def test_sinusoids_are_those_of_diffusers_but_for_its_float32(timestep):
    """An angle is t * exp(-e) with e, exp and product each rounded to float32: below 4 half steps, t * 2**-22."""
    embeddings = pytest.importorskip("diffusers", reason="the other implementation").models.embeddings
    timesteps = torch.tensor([timestep, timestep / 2])
    expected = embeddings.get_timestep_embedding(timesteps, 256, flip_sin_to_cos=True, downscale_freq_shift=0)
    found = sinusoids(timesteps, 256)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=2**-24 + timestep * 2**-22)


def test_image_features_are_used_where_they_are_given():
    """Fun-Control can take a picture. CLEAR gives none, and then zeros stand for it."""
    config = SMALL
    ours = randomized(Dit(config))
    latents, control, text = inputs(config, (2, 4, 6), torch.float32)
    image, timesteps = torch.randn(2, config.image_tokens, config.image_width), torch.tensor([952.38, 952.38])
    none = ours(latents, control, timesteps, text).velocity
    zeros = ours(latents, control, timesteps, text, torch.zeros_like(image)).velocity
    given = ours(latents, control, timesteps, text, image).velocity
    slots = torch.cat([latents, control, torch.zeros_like(latents)], 1)
    assert torch.equal(none, zeros)
    assert relative(given, none) > 1e-3
    assert relative(given, theirs(ours)(slots, timesteps, text, image).sample) < LIMIT


def test_channels_are_latents_then_control_then_zeros():
    ours = randomized(Dit(SMALL))
    seen = []
    ours.patch_embedding.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    latents, control, text = inputs(SMALL, (1, 2, 4), torch.float32)
    ours(latents, control, torch.tensor([1.0, 2.0]), text)
    assert torch.equal(seen[0][:, :16], latents)
    assert torch.equal(seen[0][:, 16:32], control)
    assert (seen[0][:, 32:] == 0).all()
    assert seen[0].shape[1] == 48


def test_padding_of_the_text_takes_part():
    """Wan does not mask it: the number of pad tokens changes the result (reference.md 1.3)."""
    ours = randomized(Dit(SMALL))
    latents, control, text = inputs(SMALL, (1, 2, 4), torch.float32)
    full = ours(latents, control, torch.tensor([1.0, 2.0]), text).velocity
    cut = ours(latents, control, torch.tensor([1.0, 2.0]), text[:, :40]).velocity
    assert relative(cut, full) > 1e-3


def test_batch_items_do_not_leak():
    ours = randomized(Dit(SMALL))
    latents, control, text = inputs(SMALL, (2, 4, 6), torch.float32)
    timesteps = torch.tensor([1000.0, 555.6])
    whole = ours(latents, control, timesteps, text).velocity
    for i in range(2):
        one = ours(latents[i : i + 1], control[i : i + 1], timesteps[i : i + 1], text[i : i + 1]).velocity
        assert relative(whole[i : i + 1], one) < 1e-6
    latents[1] = torch.nan
    poisoned = ours(latents, control, timesteps, text).velocity
    assert poisoned[1].isnan().all()
    assert torch.equal(poisoned[0], whole[0])


def test_outputs_of_a_token_are_row_column_channel():
    """Channel fastest, unlike the input's patches (reference.md 1.3)."""
    latents, rows, columns, channels = 2, 3, 4, 5
    values = torch.arange(2 * 24 * 20.0).view(2, 24, 20)
    found = unpatchify(values, (latents, rows, columns))
    assert found.shape == (2, channels, latents, 2 * rows, 2 * columns)
    for b, c, f, y, x in [(0, 0, 0, 0, 0), (1, 3, 1, 5, 2), (0, 4, 1, 2, 7), (1, 1, 0, 3, 3)]:
        token = (f * rows + y // 2) * columns + x // 2
        assert found[b, c, f, y, x] == values[b, token, ((y % 2) * 2 + x % 2) * channels + c]


def test_all_attention_of_the_model_goes_through_the_one_given():
    calls = []

    def attend(q, k, v, key_bias):
        calls.append((q.shape[1], k.shape[1], key_bias))
        return torch.zeros(*q.shape[:3], v.shape[-1])

    ours = randomized(Dit(SMALL, attend))
    latents, control, text = inputs(SMALL, (1, 4, 6), torch.float32)
    ours(latents, control, torch.tensor([1.0, 2.0]), text)
    assert calls == [(6, 6, None), (6, 512, None), (6, 257, None)] * 3


@pytest.mark.parametrize(
    ("latents", "control"),
    [((1, 16, 1, 3, 4), (1, 16, 1, 3, 4)), ((1, 16, 1, 4, 5), (1, 16, 1, 4, 5)), ((1, 16, 2, 4, 4), (1, 16, 1, 4, 4))],
)
def test_shapes_that_cannot_be_are_refused(latents, control):
    with pytest.raises(ValueError, match="expected latents"):
        Dit(SMALL)(torch.zeros(latents), torch.zeros(control), torch.zeros(1), torch.zeros(1, 512, 64))


@pytest.mark.parametrize(
    ("change", "named"),
    [({"heads": 5}, "width"), ({"width": 100, "heads": 4}, "width"), ({"layers": 0}, "layers"), ({"slots": 0}, "slots"),
     ({"freq_width": 7}, "freq_width"), ({"image_width": -1}, "image_width"), ({"eps": 0.0}, "eps"),
     ({"latent_channels": -4}, "latent_channels")],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(change, named):
    with pytest.raises(ConfigError, match=named):
        replace(SMALL, **change)


def test_presets_are_the_released_checkpoints():
    """Names and shapes hash to what DiffSynth-Studio knows the real file by (reference.md section 0)."""
    shapes = dit_shapes(WAN_FUN_CONTROL)
    assert len(shapes) == 985
    assert signature(shapes) == "70ddad9d3a133785da5ea371aae09504"
    with torch.device("meta"):
        assert sum(p.numel() for p in Dit(WAN_FUN_CONTROL).parameters()) == 1_564_602_176
        assert sum(p.numel() for p in Dit(WAN_T2V).parameters()) == 1_418_996_800


def test_the_real_preset_has_the_names_and_shapes_of_diffusers():
    models = pytest.importorskip("diffusers", reason="the other implementation: pip install '.[export]'")
    with torch.device("meta"):
        real = models.WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, in_channels=48, out_channels=16, ffn_dim=8960,
            num_layers=30, image_dim=1280, added_kv_proj_dim=1536,
        )  # fmt: skip
    names, shapes = diffusers_names(WAN_FUN_CONTROL), dit_shapes(WAN_FUN_CONTROL)
    ours = {names[name]: shape for name, shape in shapes.items() if not name.startswith("ref_conv.")}
    assert ours == {name: tuple(tensor.shape) for name, tensor in real.state_dict().items()}
