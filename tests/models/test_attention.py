"""Attention with a bias per key: against its formula, at its limits, and in the form without a bias."""

from __future__ import annotations

from itertools import pairwise
from math import log, sqrt

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")

from clear_rt.models.attention import BIAS_COLUMNS, attention, attention_ref, extended  # noqa: E402
from clear_rt.models.occlusion import key_bias  # noqa: E402

# Half a step of the type for each of: the weights, the sum of values and the result; bf16 rounds the probabilities too.
LIMIT = {torch.float64: 1e-14, torch.float32: 2e-6, torch.bfloat16: 2**-7}
# Batch, queries, keys, heads, width of q and k, width of v.
SHAPES = [
    (2, 37, 37, 3, 64, 64),
    (1, 1, 769, 2, 128, 128),
    (2, 50, 1, 1, 8, 16),
    (1, 130, 257, 2, 20, 12),
    (1, 600, 1300, 1, 64, 64),
]


def relative(found, expected) -> float:
    found, expected = found.double(), expected.double()
    return ((found - expected).square().mean() / expected.square().mean()).sqrt().item()


def inputs(shape, dtype, seed=0):
    b, n, m, h, d, v = shape
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(size, generator=generator, dtype=torch.float64) for size in ((b, n, h, d), (b, m, h, d))]
    values = torch.randn((b, m, h, v), generator=generator, dtype=torch.float64)
    bias = -8 * torch.rand((b, h, m), generator=generator, dtype=torch.float64)
    return [x.to(dtype) for x in (*draw, values, bias)]


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention_follows_the_formula(shape, dtype):
    q, k, v, bias = inputs(shape, dtype)
    for b in (None, bias):
        found = attention(q, k, v, b)
        assert found.dtype == dtype
        assert found.shape == (*q.shape[:3], v.shape[-1])
        assert relative(found, attention_ref(*(x.double() for x in (q, k, v)), b)) < LIMIT[dtype]


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
def test_keys_of_minus_infinity_do_not_exist(dtype):
    """Whatever garbage their values hold, as long as it is finite."""
    q, k, v, bias = inputs((2, 21, 40, 2, 32, 32), dtype)
    gone = torch.arange(40) % 3 == 1
    bias[..., gone] = -torch.inf
    k[:, gone], v[:, gone] = 1e4, -1e4
    for function in (attention, attention_ref):
        expected = attention_ref(*(x.double() for x in (q, k[:, ~gone], v[:, ~gone])), bias[..., ~gone])
        assert relative(function(q, k, v, bias), expected) < LIMIT[dtype]


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_beta_of_zero_is_plain_attention_bit_by_bit(shape, dtype):
    q, k, v, bias = inputs(shape, dtype)
    zero = key_bias(torch.rand(bias.shape[0], bias.shape[2], dtype=dtype), torch.zeros(bias.shape[1], dtype=dtype))
    assert torch.equal(attention(q, k, v, zero), attention(q, k, v, None))
    assert torch.equal(attention_ref(q, k, v, zero), attention_ref(q, k, v, None))


def test_a_key_with_a_logarithm_stands_for_many_equal_ones():
    """The 512 - P padding tokens of the text as one key with + ln(512 - P) (reference.md 1.7)."""
    q, k, v, _ = inputs((1, 9, 30, 2, 16, 16), torch.float64)
    copies = 482
    many_k, many_v = (torch.cat((x, x[:, -1:].expand(-1, copies - 1, -1, -1)), 1) for x in (k, v))
    bias = torch.zeros(1, 2, 30, dtype=torch.float64)
    bias[..., -1] = log(copies)
    assert relative(attention(q, k, v, bias), attention_ref(q, many_k, many_v, None)) < 1e-14


def stretched(q, k, v, bias):
    """The bias in columns, for attention that takes a scale and no bias."""
    wide_q, wide_k = (x.transpose(1, 2) for x in extended(q, k, bias))
    found = torch.nn.functional.scaled_dot_product_attention(
        wide_q, wide_k, v.transpose(1, 2), scale=1 / sqrt(q.shape[-1])
    )
    return found.transpose(1, 2)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_columns_of_q_and_k_do_what_the_bias_does(shape, dtype):
    q, k, v, bias = inputs(shape, dtype)
    wide_q, wide_k = extended(q, k, bias)
    assert wide_q.dtype == wide_k.dtype == dtype
    assert wide_q.shape[-1] == wide_k.shape[-1] == q.shape[-1] + BIAS_COLUMNS
    assert torch.equal(wide_q[..., : q.shape[-1]], q)
    assert torch.equal(wide_k[..., : q.shape[-1]], k)
    expected = attention_ref(*(x.double() for x in (q, k, v)), bias)
    assert relative(stretched(q, k, v, bias), expected) < LIMIT[dtype]


@pytest.mark.parametrize("width", [64, 128, 40])
def test_columns_in_bfloat16_add_up_to_the_float32_value(width):
    """Three pieces of 8 bits hold the 24 bits of a float32 with nothing left over; one piece is 2**-8 = 4e-3 off.

    What remains is the rounding of bias * sqrt(D) / 8 to float32: 2**-24 for the product and 2**-24 for the constant,
    1.2e-7 in all, and nothing where sqrt(D) / 8 is a power of two, as for D = 64.
    """
    bias = -torch.logspace(-6, 3, 5000).view(1, 1, -1)
    bias = torch.cat(
        (bias, torch.nextafter(-bias, torch.tensor(0.0)), -(2.0 ** torch.arange(-9, 9)).view(1, 1, -1)), -1
    )
    blank = torch.zeros(1, bias.shape[-1], 1, width, dtype=torch.bfloat16)
    q, k = (x[..., width:].double() for x in extended(blank[:, :1], blank, bias))
    assert (q[..., 3:] == 0).all()
    assert (k[..., 3:] == 0).all()
    said = torch.einsum("bnhd,bmhd->bhm", q, k)[0, 0] / sqrt(width)
    wrong = ((said - bias[0, 0].double()) / bias[0, 0].double()).abs().max().item()
    assert wrong <= (0 if width == 64 else 2**-23)
    one = (k[..., 0] * 8 / sqrt(width)).flatten()
    assert 2**-9 < ((one - bias.flatten().double()) / bias.flatten().double()).abs().max() <= 2**-8 * 1.01


def test_more_occlusion_means_less_attention_up_to_none():
    """Keys under the subtitle lose weight as beta grows; in the limit they are gone, and only for their head."""
    q, k, v, _ = inputs((1, 25, 30, 2, 32, 32), torch.float64)
    marks = torch.eye(30, dtype=torch.float64).view(1, 30, 1, 30).expand(-1, -1, 2, -1)
    hidden = torch.arange(30) < 11
    shares = []
    for beta in (0.0, 0.5, 2.0, 8.0, 800.0):
        bias = key_bias(hidden.double()[None], torch.tensor([beta, 0.0], dtype=torch.float64))
        weights = attention(q, k, marks, bias)
        shares.append(weights[:, :, 0, :11].sum(-1))
        torch.testing.assert_close(weights[:, :, 1], attention(q, k, marks, None)[:, :, 1], rtol=1e-12, atol=0)
    assert all((more > less).all() for more, less in pairwise(shares))
    assert (shares[-1] == 0).all()
    bias = key_bias(hidden.double()[None], torch.full((2,), 800.0, dtype=torch.float64))
    removed = attention_ref(q, k[:, 11:], v[:, 11:], None)
    assert relative(attention(q, k, v, bias), removed) < 1e-14
