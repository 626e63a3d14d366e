"""Arithmetic by formula: beside the published table, beside sums by hand, and beside the networks themselves."""

from __future__ import annotations

import pytest

from clear_rt.bench.work import Work
from clear_rt.bench.work_dit import DitShape, control_work, step_parts, step_work, tokens_of
from clear_rt.bench.work_vae import decode_work, encode_work
from clear_rt.models.vae_config import WAN_VAE, VaeConfig

# With the 769 keys of the released code: 512 of text and 257 of the image (reference.md 10.1).
WAN = DitShape(width=1536, heads=12, layers=30, ffn_width=8960, text_keys=769)
# Linears without the keys and values of the prompt, which are constant: 0.22 TFLOP; each figure is rounded to the last
# digit given here.
TABLE = {
    (1280, 720): (75_600, 189.06, 1053.5, 10.72, 381.7, 639.2),
    (832, 480): (32_760, 81.92, 197.8, 4.64, 163.7, 275.4),
    (1280, 192): (20_160, 50.42, 74.9, 2.86, 100.5, 169.2),
}


@pytest.mark.parametrize("size", TABLE)
def test_transformer_against_the_published_table(size):
    tokens, linears, self_attention, cross_attention, _, _ = TABLE[size]
    assert tokens_of(21, size[1] // 8, size[0] // 8) == tokens
    parts = step_parts(WAN, tokens)
    assert parts["linears"].flop / 1e12 == pytest.approx(linears, abs=0.011)
    assert parts["self attention"].flop / 1e12 == pytest.approx(self_attention, abs=0.051)
    assert parts["cross attention"].flop / 1e12 == pytest.approx(cross_attention, abs=0.0051)


@pytest.mark.parametrize("size", TABLE)
def test_vae_of_81_frames_against_the_published_table(size):
    width, height = size
    encoded = encode_work(WAN_VAE, height, width, first=True) + encode_work(WAN_VAE, height, width) * 20
    decoded = decode_work(WAN_VAE, height, width, first=True) + decode_work(WAN_VAE, height, width) * 20
    assert encoded.flop / 1e12 == pytest.approx(TABLE[size][4], abs=0.051)
    assert decoded.flop / 1e12 == pytest.approx(TABLE[size][5], abs=0.051)


def test_the_two_facts_of_the_design():
    full, band = (step_parts(WAN, TABLE[size][0]) for size in ((1280, 720), (1280, 192)))
    totals = [5 * sum(part.flop for part in parts.values()) / 1e15 for parts in (full, band)]
    assert totals == pytest.approx([6.27, 0.64], abs=0.005)
    assert 5 * full["self attention"].flop / 1e15 / totals[0] == pytest.approx(0.84, abs=0.005)


def test_a_transformer_by_hand():
    dit = DitShape(width=4, heads=2, layers=3, ffn_width=10, latent_channels=2, text_keys=5)
    tokens = 6
    parts = step_parts(dit, tokens)
    # Per block q, k, v, o, and q, o of the prompt: six products of 6x4 by 4x4; two of the feed-forward.
    assert parts["linears"].flop == 3 * (6 * 2 * 6 * 4 * 4 + 2 * 2 * 6 * 4 * 10)
    # Scores and their sum over values.
    assert parts["self attention"].flop == 3 * 2 * (2 * 6 * 6 * 4)
    assert parts["cross attention"].flop == 3 * 2 * (2 * 6 * 5 * 4)
    # Eight values of a patch in and out.
    assert parts["rest"].flop == 2 * (2 * 6 * 8 * 4)
    assert control_work(dit, tokens).flop == 2 * 6 * 8 * 4
    # The head: 3x3 from 4 to 64 channels, then to one.
    headed = DitShape(width=4, heads=2, layers=3, ffn_width=10, latent_channels=2, text_keys=5, occlusion=True)
    assert step_work(headed, tokens).flop - step_work(dit, tokens).flop == 2 * 6 * (9 * 4 * 64 + 64)


def test_values_by_hand():
    # 2x3 by 3x5: 6 in, 15 weights, 10 out.
    assert Work.linear(2, 3, 5) == Work(60, 31)
    # 2 queries, 7 keys, 4 wide: queries and result 8 each, keys and values 28 each.
    assert Work.attention(2, 7, 4) == Work(4 * 2 * 7 * 4, 72)
    # 12 positions of 3 channels in, 5 of 4 out, 9 weights for each pair.
    assert Work.convolution(12, 5, 3, 4, 9) == Work(2 * 5 * 9 * 12, 36 + 20 + 108)
    assert (Work(1, 2) + Work(10, 20)) * 3 == Work(33, 66)


def _run_flop(torch, vae: VaeConfig, size: tuple[int, int], first: bool) -> list[int]:
    """FLOP of both coders' steps, counted at every convolution and attention of the network as it runs."""
    from clear_rt.models.vae import Vae
    from clear_rt.models.vae_blocks import AttentionBlock

    network, counts = Vae(vae).eval(), []

    def count(layer, given, made):
        kernel = layer.weight[0].numel()
        counts.append(2 * made.numel() * kernel)

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv3d, torch.nn.Conv2d)):
            module.register_forward_hook(count)
        if isinstance(module, AttentionBlock):
            attend = module.attend

            def counted(q, k, v, bias, attend=attend):
                frames, positions, _, channels = q.shape
                counts.append(frames * 4 * positions**2 * channels)
                return attend(q, k, v, bias)

            module.attend = counted
    width, height = size
    sums = []
    for step, one, shape in (
        (network.encoder_step, 1, (1, 3, vae.latent_frames, height, width)),
        (network.decoder_step, 1, (1, vae.latent_channels, 1, height // vae.latent_px, width // vae.latent_px)),
    ):
        with torch.no_grad():
            begin = torch.zeros(shape)[:, :, :one]
            _, caches = step(begin)
            at_first = sum(counts)
            counts.clear()
            step(torch.zeros(shape), caches)
        sums.append(at_first if first else sum(counts))
        counts.clear()
    return sums


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize(
    ("vae", "size"),
    [
        (VaeConfig(base_width=4, res_blocks=1), (48, 16)),
        (VaeConfig(base_width=6, multipliers=(1, 3, 2), res_blocks=2, temporal_down=(True, False)), (24, 40)),
        (VaeConfig(base_width=2, multipliers=(1, 2, 2, 5), res_blocks=3, temporal_down=(True, True, True)), (16, 32)),
    ],
)
def test_vae_against_the_network_as_it_runs(vae, size, first):
    torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
    expected = _run_flop(torch, vae, size, first)
    width, height = size
    assert [work(vae, height, width, first=first).flop for work in (encode_work, decode_work)] == expected
