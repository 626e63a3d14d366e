"""Attention in E4M3 against its formula in float64 of the same operands, and against attention in full precision."""

from math import log, sqrt

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.fp8_blocks import dequantized, quantized_ref  # noqa: E402
from clear_rt.kernels.occlusion_attention_fp8 import (  # noqa: E402
    OP,
    fp8_algorithm_ref,
    launch,
    occlusion_attention_fp8,
    occlusion_attention_fp8_ref,
)
from clear_rt.kernels.qk_norm_rope import qk_norm_rope_ref, turns_table  # noqa: E402
from clear_rt.kernels.qk_norm_rope_fp8 import key_center, qk_norm_rope_fp8  # noqa: E402
from clear_rt.kernels.quantize_values import quantize_values, quantize_values_ref  # noqa: E402
from clear_rt.kernels.tiles import Tile, rows  # noqa: E402
from clear_rt.models.attention import attention_ref  # noqa: E402

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
# Batches, queries, keys, heads, head width: 1, and around a block of keys and of scales; heads of one, clear-tiny, Wan.
SHAPES = (
    (1, 1, 1, 1, 64),
    (2, 64, 17, 1, 128),
    (1, 17, 127, 3, 64),
    (1, 127, 64, 12, 128),
    (1, 128, 129, 3, 64),
    (1, 129, 128, 1, 128),
    (1, 300, 300, 1, 64),
)
TILES = sorted({tuple(row["blocks"].items()) for row in rows(OP)})
# Sums in fp32 of 128 products, then of the blocks' sums, and exp2 of up to 2**4, whose last place is 2**-20. Tensor
# cores cut what they add to 13 bits of the largest, once for every 32 products.
SUMS = 2.0**-16 if not torch.cuda.is_available() else 2.0**-10


def cast(x):
    """To E4M3, which holds every value that it is given here."""
    return x.float().to(torch.float8_e4m3fn)


def exact_operands(draw, shape):
    """Operands whose weights are powers of 2 from 1 to 2**-11: E4M3 holds 448 times each, so only sums are rounded.

    The product of query i and key j in base 2 is an integer of its own for each channel that queries pick. Scales are
    different in each block of each head, and values are compensated for, so that a wrong scale shows.
    """
    batches, queries, keys, heads, width = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def integers(low, high, *size):
        return torch.randint(low, high + 1, size, generator=generator).double()

    q_power, k_power = (integers(0, 2, batches, heads, -(-n // 128)) for n in (queries, keys))
    picked = torch.nn.functional.one_hot((torch.arange(queries)[:, None] + torch.arange(heads)) % width, width)
    products = integers(-11, 0, batches, keys, heads, width)
    q8, k8 = (
        cast(x * 2 ** power.repeat_interleave(128, -1)[..., : x.shape[1]].transpose(1, 2)[..., None])
        for x, power in ((picked.expand(batches, -1, -1, -1), q_power), (products, k_power))
    )
    q_scale, k_scale = (sqrt(width) * log(2) * 2**-q_power).float(), (2**-k_power).float()
    device = draw(1).device
    return tuple(x.to(device) for x in (q8, q_scale, k8, k_scale)) + quantize_values_ref(values(draw, shape))


def values(draw, shape):
    """Of different sizes in blocks and heads, with a mean."""
    batches, _, keys, heads, width = shape
    size = draw(1, -(-keys // 128), heads, 1).exp().repeat_interleave(128, 1)[:, :keys]
    return (draw(batches, keys, heads, width) + 1) * size


def drawn_operands(draw, shape, sharpness=1.0):
    batches, queries, keys, heads, width = shape
    q, k = draw(batches, queries, heads, width, scale=sharpness), draw(batches, keys, heads, width)
    return *quantized_ref(q), *quantized_ref(k), *quantize_values_ref(values(draw, shape))


def exact_bias(draw, shape):
    """Powers of 2 again, 1 to 2**-3; with `exact_operands` the smallest weight is 2**-14."""
    batches, _, keys, heads, _ = shape
    return -log(2) * (draw(batches, heads, keys).abs() * 2).round().clamp(max=3)


def by_tile(operands, bias, dtype, blocks):
    """The op with another tile than that of this machine; what it leaves unwritten is NaN."""
    q8 = operands[0]
    out = torch.full(q8.shape, torch.nan, dtype=dtype, device=q8.device)
    launch(operands, bias, out, Tile(dict(blocks), 8, 2))
    return out


def mean_size(operands, bias):
    """Weighted mean of |v|, float64 [B, N, H, D], which errors of sums and of weights are relative to."""
    *others, v8, v_scale = operands
    size = (v8.view(torch.uint8) & 0x7F).view(torch.float8_e4m3fn)
    return occlusion_attention_fp8_ref(*others, size, v_scale, bias, torch.float64)


def assert_exact_weights(found, operands, bias):
    exact = occlusion_attention_fp8_ref(*operands, bias, torch.float64)
    tolerance = HALF_ULP[found.dtype] * exact.abs() + SUMS * mean_size(operands, bias)
    assert ((found.double() - exact).abs() <= tolerance).all()


def assert_rounded_weights(found, operands, bias):
    """The error is that of weights rounded to E4M3.

    A weight w <= 1 becomes w + d. 448 w is rounded by half a unit of 3 bits of significand, 2**-4 of it at most, or by
    half of the smallest step, 2**-10; d is less where w was rounded relative to a largest weight before the last and
    scaled down since. What w itself is off by is e w: fp32 loses up to SUMS of the products' sizes in the logit. So

        |d| <= 2**-4 w (1 + e) + e w + 2**-10 / 448.

    With O = sum(w v) / sum(w) the result is O + sum(d (v - O)) / sum(w + d), since sum(w (v - O)) = 0.
    """
    q8, q_scale, k8, k_scale, v8, v_scale = operands
    exact = occlusion_attention_fp8_ref(*operands, bias, torch.float64)
    q, k = dequantized(q8, q_scale).double(), dequantized(k8, k_scale).double()
    v = dequantized(v8.permute(0, 3, 1, 2), v_scale).double()[:, : k.shape[1]]
    logits = torch.einsum("bnhd,bmhd->bnhm", q, k) / sqrt(q.shape[-1])
    sizes = torch.einsum("bnhd,bmhd->bnhm", q.abs(), k.abs()) / sqrt(q.shape[-1])
    if bias is not None:
        logits = logits + bias[:, None]
        sizes = sizes + bias[:, None].abs().nan_to_num(posinf=0)
    weights = (logits - logits.amax(-1, keepdim=True).clamp(min=-1e38)).exp()
    off = (SUMS * sizes).expm1()
    wrong = (2.0**-4 * (1 + off) + off) * weights + (2.0**-10 / 448) * (weights > 0)
    distance = (v.transpose(1, 2)[:, None] - exact[:, :, :, None]).abs()
    at_least = (weights - wrong).sum(-1, keepdim=True)
    bound = torch.einsum("bnhm,bnhmd->bnhd", wrong, distance) / at_least.where(at_least > 0, 1)
    bound = bound + HALF_ULP[found.dtype] * exact.abs() + SUMS * mean_size(operands, bias)
    assert ((found.double() - exact).abs() <= bound).all()


@pytest.mark.parametrize("blocks", TILES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("biased", [False, True])
def test_with_exact_weights_nothing_but_sums_is_rounded(draw, shape, biased, blocks):
    operands = exact_operands(draw, shape)
    bias = exact_bias(draw, shape) if biased else None
    assert_exact_weights(by_tile(operands, bias, torch.float32, blocks), operands, bias)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_result_is_rounded_once(draw, dtype):
    shape = (2, 17, 70, 2, 64)
    operands, bias = exact_operands(draw, shape), exact_bias(draw, shape)
    found = occlusion_attention_fp8(*operands, bias, dtype)
    assert found.dtype == dtype
    assert_exact_weights(found, operands, bias)


def biases(draw, batches, heads, keys):
    """Every kind that a caller may have, by name."""
    zeros = draw(batches, heads, keys) * 0
    one = zeros - 1e4
    one[..., keys // 2] = 0
    unseen = draw(batches, heads, keys)
    unseen[..., ::3] = -torch.inf
    nothing = zeros.clone()
    nothing[:, 0] = -torch.inf
    return {
        "none": None,
        "zeros": zeros,
        "drawn": draw(batches, heads, keys),
        "large": draw(batches, heads, keys, scale=50.0),
        "one key": one,
        "unseen keys": unseen,
        "a head that sees nothing": nothing,
        "of all heads": draw(batches, 1, keys).expand(-1, heads, -1),
    }


@pytest.mark.parametrize("kind", biases(lambda *_, **__: torch.zeros(1, 1, 1), 1, 1, 1))
def test_rounded_weights_are_off_by_no_more_than_their_rounding(draw, kind):
    shape = (1, 20, 150, 2, 64)
    operands, bias = drawn_operands(draw, shape, sharpness=3.0), biases(draw, 1, 2, 150)[kind]
    found = occlusion_attention_fp8(*operands, bias, torch.float32)
    assert_rounded_weights(found, operands, bias)
    if kind == "a head that sees nothing":
        assert not found[:, :, 0].any()
        assert found[:, :, 1].all()


def test_one_key_alone_is_its_value(draw):
    shape = (1, 17, 150, 2, 64)
    operands, bias = drawn_operands(draw, shape), biases(draw, 1, 2, 150)["one key"]
    found = occlusion_attention_fp8(*operands, bias, torch.float32)
    v = dequantized(operands[4].permute(0, 3, 1, 2), operands[5])[:, 75]
    torch.testing.assert_close(found, v[:, None].expand_as(found), rtol=SUMS, atol=0)


def test_a_constant_bias_changes_nothing(draw):
    shape = (1, 17, 150, 2, 64)
    operands = exact_operands(draw, shape)
    constant = draw(1, 2, 150) * 0 + 5 * log(2)
    assert_exact_weights(occlusion_attention_fp8(*operands, constant, torch.float32), operands, None)


def test_the_order_of_keys_within_a_block_changes_only_sums(draw):
    """With blocks of 128 keys the largest weight so far does not depend on it, so each weight is rounded as before."""
    q8, q_scale, k8, k_scale, v8, v_scale = operands = drawn_operands(draw, (1, 17, 300, 2, 64))
    bias = draw(1, 2, 300)
    order = torch.cat([start + torch.randperm(min(128, 300 - start)) for start in range(0, 300, 128)])
    k_bytes, v_bytes = k8.view(torch.uint8)[:, order], v8.view(torch.uint8).clone()
    v_bytes[..., :300] = v_bytes[..., order]
    mixed = q8, q_scale, k_bytes.view(k8.dtype), k_scale, v_bytes.view(v8.dtype), v_scale
    blocks = {"BLOCK_QUERIES": 128, "BLOCK_KEYS": 128}
    found = by_tile(mixed, bias[..., order].contiguous(), torch.float32, blocks)
    expected = by_tile(operands, bias, torch.float32, blocks)
    assert ((found - expected).abs() <= 2 * SUMS * mean_size(operands, bias)).all()


def poisoned(x, *paddings):
    """A view of x amid NaN (E4M3's is 0x7F); `paddings` before and after each axis."""
    pad = [side for padding in reversed(paddings) for side in padding]
    if x.dtype == torch.float8_e4m3fn:
        padded = torch.nn.functional.pad(x.view(torch.uint8), pad, value=0x7F).view(x.dtype)
    else:
        padded = torch.nn.functional.pad(x, pad, value=torch.nan)
    for axis, (before, _) in enumerate(paddings):
        padded = padded.narrow(axis, before, x.shape[axis])
    return padded


@pytest.mark.parametrize("blocks", TILES, ids=str)
def test_strides_are_followed_and_what_lies_between_is_not_read(draw, blocks):
    shape = (2, 17, 70, 2, 64)
    (q8, q_scale, k8, k_scale, v8, v_scale), bias = drawn_operands(draw, shape), draw(2, 2, 70)
    around = ((1, 1), (3, 150), (1, 2), (16, 16))
    q_view, k_view, v_view = poisoned(q8, *around), poisoned(k8, *around), poisoned(v8, *around)
    bias_view = poisoned(bias, (1, 0), (0, 1), (5, 200))
    assert not v_view.is_contiguous()
    views = q_view, q_scale, k_view, k_scale, v_view, v_scale
    found = by_tile(views, bias_view, torch.float32, blocks)
    assert torch.equal(found, by_tile((q8, q_scale, k8, k_scale, v8, v_scale), bias, torch.float32, blocks))


@pytest.mark.gpu
def test_a_nan_in_the_bias_stays_in_its_head(draw):
    """Not for the interpreter, whose products take E4M3's NaN for a number."""
    operands, bias = drawn_operands(draw, (1, 17, 150, 2, 64)), draw(1, 2, 150)
    bias[0, 0, 3] = torch.nan
    found = occlusion_attention_fp8(*operands, bias, torch.float32)
    assert found[:, :, 0].isnan().all()
    assert found[:, :, 1].isfinite().all()


def relative(found, exact):
    """Root of the mean square of the error, by that of what is exact."""
    return ((found.double() - exact).norm() / exact.norm()).item()


# A float of 3 bits of significand is off by 2**-3 / sqrt(12) of its power of 2, root mean square; over the powers of 2
# of normal numbers that is 0.0266 of them, whatever their deviation. Values and weights add that much each to the
# result, queries and keys each to a logit, whose deviation is 1 here. All are independent: 2 * 0.0266, and 3 % for a
# draw.
ROUNDING = 0.0266
GAUSSIAN = 1.03 * 2 * ROUNDING


def test_the_error_on_normal_numbers_is_that_of_four_roundings(draw):
    q, k, v = (draw(1, n, 2, 128) for n in (64, 300, 300))
    exact = attention_ref(q.double(), k.double(), v.double(), None)
    found = occlusion_attention_fp8(*quantized_ref(q), *quantized_ref(k), *quantize_values_ref(v), None, torch.float32)
    algorithm = fp8_algorithm_ref(q, k, v, None, None)
    assert ROUNDING < relative(found, exact) <= GAUSSIAN
    assert ROUNDING < relative(algorithm, exact) <= GAUSSIAN
    # They differ by roundings of weights, which are coarser in the reference, at most by both of them.
    assert relative(found, algorithm.double()) <= ROUNDING * sqrt(2)


def test_keys_with_a_mean_need_it_taken_away(draw):
    """One vector, 8 times as large as what differs between the keys: it moves no weight, but coarsens the keys."""
    q, k, v = (draw(1, n, 2, 128) for n in (64, 300, 300))
    k = k + 8 * draw(1, 1, 2, 128)
    exact = attention_ref(q.double(), k.double(), v.double(), None)
    without, smoothed = (relative(fp8_algorithm_ref(q, k, v, None, mean), exact) for mean in (None, k.mean(1)))
    assert smoothed <= GAUSSIAN < 2 * GAUSSIAN < without


def test_values_with_a_mean_are_off_by_what_differs_in_them(draw):
    """The sum of rounded weights makes a mean of values: what is common to them carries no error of the weights."""
    q, k, v = (draw(1, n, 1, 128) for n in (64, 300, 300))
    operands = *quantized_ref(q), *quantized_ref(k)
    # Values that E4M3 holds, so that only weights are rounded, with a mean 8 times their deviation.
    v8 = cast(8 + v.sign())
    v_scale = torch.ones(1, 1, 3, device=v.device)
    padded = torch.nn.functional.pad(v8.view(torch.uint8).permute(0, 2, 3, 1), (0, 84)).contiguous().view(v8.dtype)
    found = occlusion_attention_fp8(*operands, padded, v_scale, None, torch.float32)
    exact = occlusion_attention_fp8_ref(*operands, padded, v_scale, None, torch.float64)
    assert relative(found - 8, exact - 8) <= ROUNDING


def test_what_the_kernels_before_it_make_fits_it(draw):
    """Queries, keys and values of one fused product, as a block has them."""
    width, rows, columns = 2 * 64, 10, 13
    fused = draw(1, rows * columns, 3 * width)
    q, k, v = fused.split(width, -1)
    gains = (1 + 0.3 * draw(width) for _ in range(2))
    given = dict(zip(("weight_q", "weight_k"), gains, strict=True))
    given |= {"turns": turns_table(64, 13).to(fused.device), "rows": rows, "columns": columns, "eps": 1e-6}
    center = key_center(k, *(given[name] for name in ("weight_k", "turns", "rows", "columns", "eps")))
    v = v.unflatten(-1, (2, 64))
    found = occlusion_attention_fp8(
        *qk_norm_rope_fp8(q, k, **given, center=center), *quantize_values(v), None, torch.float32
    )
    exact = attention_ref(*qk_norm_rope_ref(q.double(), k.double(), **given), v.double(), None)
    # Queries and keys have a root mean square of 1, and gains of 1.09: their products that much more.
    assert relative(found, exact) <= 1.09 * GAUSSIAN


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("q8", lambda x: x.float(), "expected q8 of float8_e4m3fn, got float32"),
        ("q8", lambda x: x.transpose(1, 3), "stride 1 along axis D, got strides .*contiguous"),
        ("k8", lambda x: x[..., :32], r"expected k8 \[B = 1, M, H = 2, D = 64\], got \[1, 150, 2, 32\]"),
        ("k8", lambda x: x[:, :0], "at least one key"),
        ("v8", lambda x: x[..., :150], r"expected v8 \[B = 1, H = 2, D = 64, P = 256\], got \[1, 2, 64, 150\]"),
        ("q_scale", lambda x: x.expand(-1, -1, 2), r"expected q_scale \[B = 1, H = 2, N/128 = 1\], got \[1, 2, 2\]"),
        ("k_scale", lambda x: x.transpose(1, 2).contiguous().transpose(1, 2), "expected k_scale with stride"),
        ("v_scale", lambda x: x.half(), "expected v_scale of float32, got float16"),
        ("bias", lambda x: x[:, :, :149], r"expected bias \[B = 1, H = 2, M = 150\], got \[1, 2, 149\]"),
        ("bias", lambda x: x.bfloat16(), "expected bias of float32, got bfloat16"),
        ("dtype", lambda _: torch.float64, "expected dtype float16, bfloat16 or float32, got torch.float64"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, name, change, said):
    names = ("q8", "q_scale", "k8", "k_scale", "v8", "v_scale", "bias", "dtype")
    operands = *drawn_operands(draw, (1, 17, 150, 2, 64)), draw(1, 2, 150), torch.float32
    with pytest.raises(ValueError, match=said):
        occlusion_attention_fp8(**{n: change(x) if n == name else x for n, x in zip(names, operands, strict=True)})


def test_heads_of_other_widths_are_refused(draw):
    q8, q_scale, k8, k_scale, v8, v_scale = drawn_operands(draw, (1, 5, 5, 1, 64))
    narrow = q8[..., :32].contiguous(), q_scale, k8[..., :32].contiguous(), k_scale, v8[:, :, :32], v_scale
    with pytest.raises(ValueError, match="heads of 64 or 128 channels, got 32"):
        occlusion_attention_fp8(*narrow, None, torch.float32)


def test_the_op_is_complete_for_compile_and_export(draw):
    operands, bias = drawn_operands(draw, (1, 5, 9, 2, 64)), draw(1, 2, 9)
    for extra in (bias, None):
        # Not test_schema, which multiplies what it is given; torch multiplies no E4M3.
        arguments = (*operands, extra, torch.bfloat16)
        torch.library.opcheck(occlusion_attention_fp8, arguments, test_utils=("test_faketensor",))
    exported = torch.export.export(Attending(), (*operands, bias)).module()
    found = exported(*operands, bias)
    assert torch.equal(found, occlusion_attention_fp8(*operands, bias, torch.bfloat16))


class Attending(torch.nn.Module):
    def forward(self, q8, q_scale, k8, k_scale, v8, v_scale, bias):
        return occlusion_attention_fp8(q8, q_scale, k8, k_scale, v8, v_scale, bias, torch.bfloat16)


@pytest.mark.gpu
@pytest.mark.parametrize("keys", [75_600, 20_163])
def test_real_size(draw, keys):
    """Wan at 720p, and a number that fills no block; some queries in float64."""
    q8, q_scale, k8, k_scale, v8, v_scale = operands = drawn_operands(draw, (1, keys, keys, 12, 128))
    bias = -draw(1, 12, keys).abs()
    found = occlusion_attention_fp8(*operands, bias, torch.bfloat16)
    assert found.isfinite().all()
    # Two queries of the first block of scales and two of the last.
    for first, block in ((5, 0), (keys - 2, q_scale.shape[-1] - 1)):
        sample = q8[:, first : first + 2], q_scale[..., block : block + 1], k8, k_scale, v8, v_scale
        assert_rounded_weights(found[:, first : first + 2], sample, bias)
