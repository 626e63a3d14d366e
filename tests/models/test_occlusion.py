"""The occlusion head against its formula, frame by frame, and what its weights do inside the transformer."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")

from clear_rt.models.dit import Dit  # noqa: E402
from clear_rt.models.dit_config import DitConfig  # noqa: E402
from clear_rt.models.dit_names import is_occlusion  # noqa: E402
from clear_rt.models.occlusion import OcclusionHead, key_bias  # noqa: E402

CONFIG = DitConfig(
    width=48, heads=3, layers=4, ffn_width=64, latent_channels=4, text_width=12, text_tokens=6, freq_width=16,
    image_width=10, image_tokens=5, occlusion=True,
)  # fmt: skip


def head(width=24):
    torch.manual_seed(0)
    made = OcclusionHead(width).double()
    torch.nn.init.normal_(made.conv2.weight)
    torch.nn.init.normal_(made.conv1.bias)
    return made.requires_grad_(False)


def by_hand(made, tokens, grid):
    """sigmoid(b2 + w2 . silu(b1 + sum over 3x3 neighbours of w1 h)), with zeros outside the picture."""
    latents, rows, columns = grid
    h = tokens.view(*grid, -1)
    found = torch.empty(grid, dtype=torch.float64)
    for f in range(latents):
        for r in range(rows):
            for c in range(columns):
                hidden = made.conv1.bias.clone()
                for dr in (-1, 0, 1):
                    for dc in (-1, 0, 1):
                        if 0 <= r + dr < rows and 0 <= c + dc < columns:
                            hidden += made.conv1.weight[:, :, dr + 1, dc + 1] @ h[f, r + dr, c + dc]
                hidden = hidden * torch.sigmoid(hidden)
                found[f, r, c] = torch.sigmoid(made.conv2.weight[0, :, 0, 0] @ hidden + made.conv2.bias[0])
    return found.flatten()


@pytest.mark.parametrize("grid", [(1, 1, 1), (3, 2, 5), (2, 4, 1)], ids=str)
def test_the_head_follows_its_formula(grid):
    made, tokens = head(), torch.randn(2, grid[0] * grid[1] * grid[2], 24, dtype=torch.float64)
    found = made(tokens, grid)
    for i in range(2):
        torch.testing.assert_close(found[i], by_hand(made, tokens[i], grid), rtol=1e-12, atol=1e-12)


def test_latent_frames_and_batch_items_do_not_leak():
    made, grid = head(), (4, 3, 5)
    tokens = torch.randn(2, 60, 24, dtype=torch.float64)
    before = made(tokens, grid).view(2, 4, 15)
    tokens.view(2, 4, 15, 24)[1, 2] = torch.nan
    after = made(tokens, grid).view(2, 4, 15)
    assert after[1, 2].isnan().all()
    after[1, 2] = before[1, 2]
    assert torch.equal(after, before)


def test_an_untrained_head_says_mostly_visible_and_changes_nothing():
    made = OcclusionHead(24)
    torch.testing.assert_close(made(torch.randn(1, 12, 24), (1, 3, 4)), torch.full((1, 12), 0.1192), atol=1e-4, rtol=0)
    assert sum(p.numel() for p in OcclusionHead(1536).parameters()) == 884_865


def test_the_bias_is_beta_times_probability_and_never_positive():
    probability = torch.rand(2, 7)
    bias = key_bias(probability, torch.tensor([0.0, 1.5, -3.0]))
    assert bias.shape == (2, 3, 7)
    assert (bias[:, [0, 2]] == 0).all()
    torch.testing.assert_close(bias[:, 1], -1.5 * probability)


def test_beta_learns_although_it_starts_at_zero():
    beta = torch.zeros(3, requires_grad=True)
    key_bias(torch.rand(1, 7), beta).sum().backward()
    assert (beta.grad != 0).all()


def models():
    """One model with the head and the same without it, all weights random but beta, which is 0."""
    torch.manual_seed(1)
    weighted = Dit(CONFIG).eval().requires_grad_(False)
    torch.nn.init.normal_(weighted.occlusion_head.conv2.weight)
    plain = Dit(replace(CONFIG, occlusion=False)).eval().requires_grad_(False)
    plain.load_state_dict({name: t for name, t in weighted.state_dict().items() if not is_occlusion(name)})
    return weighted, plain


def run(model, grid=(3, 2, 4)):
    generator = torch.Generator().manual_seed(2)
    latents, control = torch.randn(2, 2, 4, grid[0], 2 * grid[1], 2 * grid[2], generator=generator)
    text = torch.randn(2, 6, 12, generator=generator)
    return model(latents, control, torch.tensor([1000.0, 555.6]), text)


def test_beta_zero_is_the_model_without_the_head_bit_by_bit():
    weighted, plain = models()
    found, expected = run(weighted), run(plain)
    assert torch.equal(found.velocity, expected.velocity)
    assert expected.occlusion is None
    assert found.occlusion.shape == (2, 3, 2, 4)
    assert 0 < found.occlusion.min() < found.occlusion.max() < 1


def test_only_blocks_after_the_middle_one_are_weighted():
    weighted, _ = models()
    assert CONFIG.middle == 2
    having = [i for i, block in enumerate(weighted.blocks) if block.self_attn.occlusion_beta is not None]
    assert having == [3]
    assert weighted.blocks[3].self_attn.occlusion_beta.shape == (3,)


def test_beta_weighs_the_keys_and_not_the_map():
    weighted, _ = models()
    before = run(weighted)
    strong = copy.deepcopy(weighted)
    strong.blocks[3].self_attn.occlusion_beta.fill_(5.0)
    after = run(strong)
    assert torch.equal(after.occlusion, before.occlusion)
    assert (after.velocity - before.velocity).abs().max() > 1e-4


def test_what_the_head_covers_wholly_is_out_of_sight_for_a_large_beta():
    """Values of hidden tokens no longer reach the self attention of any token after the middle block."""
    weighted, _ = models()
    attention = weighted.blocks[3].self_attn
    attention.occlusion_beta.fill_(1e4)
    x, turn = torch.randn(1, 24, 48), torch.stack((torch.ones(24, 8), torch.zeros(24, 8)))
    hidden = (torch.arange(24) % 5 == 0).float()[None]
    found = attention(x, turn, hidden, weighted.attend)
    assert torch.equal(found, attention(x, turn, hidden, weighted.attend))
    seen = hidden[0] == 0
    poked = x.clone()
    poked[:, ~seen] += 3
    torch.testing.assert_close(attention(poked, turn, hidden, weighted.attend)[:, seen], found[:, seen])
    alone = attention(x[:, seen], turn[:, seen], hidden[:, seen], weighted.attend)
    torch.testing.assert_close(found[:, seen], alone)
