"""Norm, rotation and split of queries and keys, and their FP8 form, against the formulas in float64."""

from itertools import product

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.fp8_blocks import dequantized, quantized_ref, scale_ref  # noqa: E402
from clear_rt.kernels.qk_norm_rope import (  # noqa: E402
    norm_rope_ref,
    qk_norm_rope,
    qk_norm_rope_ref,
    turns_at,
    turns_table,
)
from clear_rt.kernels.qk_norm_rope_fp8 import (  # noqa: E402
    key_center,
    qk_norm_rope_fp8,
    qk_norm_rope_fp8_ref,
)
from clear_rt.models.baked import split_heads  # noqa: E402
from clear_rt.models.dit_blocks import WidthNorm  # noqa: E402
from clear_rt.models.rope import axis_pairs, axis_tables, rotate, rotation  # noqa: E402

EPS = 1e-6
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Batches, frames x rows x columns, heads, head width: one token, clear-tiny's heads, Wan's, widths no power of 2.
CASES = (
    (1, (1, 1, 1), 1, 64),
    (2, (2, 3, 5), 3, 64),
    (1, (2, 1, 3), 12, 128),
    (2, (1, 3, 5), 5, 48),
    (3, (2, 2, 1), 2, 6),
)
# One token more than a block and more; many batches, so that a program makes 2 of 3 heads, and all of them.
FP8_CASES = ((1, (3, 5, 9), 2, 64), (1, (2, 8, 8), 2, 16), (30, (1, 1, 1), 3, 16), (65, (1, 1, 1), 3, 16))
HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
# In fp32, relative to a pair of values: half of what a sum of 64 squares in a row and then of 32 threads can be off by,
# 2 units of a reciprocal root, and products and sums of the pair, each of half a unit, times the root of 2.
SUMS = 64 * 2.0**-24


def inputs(draw, case, dtype=torch.float32):
    """Everything that one call takes, in order; the weights are not 1."""
    batches, (frames, rows, columns), heads, head_width = case
    tokens, width = frames * rows * columns, heads * head_width
    q, k = (draw(batches, tokens, width, dtype=dtype, scale=3.0) + 0.5 for _ in range(2))
    weight_q, weight_k = (1 + 0.3 * draw(width) for _ in range(2))
    turns = turns_table(head_width, max(frames, rows, columns)).to(q.device)
    return dict(q=q, k=k, weight_q=weight_q, weight_k=weight_k, turns=turns, rows=rows, columns=columns, eps=EPS)


def exact(given):
    """Queries and keys in float64."""
    return qk_norm_rope_ref(**{n: v.double() if isinstance(v, torch.Tensor) else v for n, v in given.items()})


def center_of(given):
    return key_center(*(given[name] for name in ("k", "weight_k", "turns", "rows", "columns", "eps")))


def pair_size(x):
    """The length of the pair that each value belongs to; a rotation keeps it."""
    return x.unflatten(-1, (-1, 2)).norm(dim=-1).repeat_interleave(2, -1)


def assert_rounded(found, exact):
    """Half a unit of the result's own rounding (of subnormal fp16 too), and what fp32 loses on the way."""
    tolerance = HALF_ULP[found.dtype] * exact.abs() + 2.0**-25 * (found.dtype == torch.float16)
    assert ((found.double() - exact).abs() <= tolerance + SUMS * pair_size(exact)).all()


def assert_quantized(values, scale, exact, center):
    """E4M3 with scales, of `exact` [B, N, H, D] less its center [B, H, D]."""
    centred = exact - center.double()[:, None]
    lost = SUMS * pair_size(exact) + 2.0**-24 * centred.abs()
    expected = torch.stack([scale_ref(part.transpose(1, 2)) for part in centred.split(128, 1)], -1)
    assert values.dtype == torch.float8_e4m3fn
    assert scale.dtype == torch.float32
    assert scale.shape == expected.shape
    assert ((scale - expected).abs() <= lost.amax() / 448 + 2.0**-24 * expected).all()
    for part in values.float().split(128, 1):
        assert (part.abs().amax((1, 3)) == 448).all()
    # Half a unit of 3 bits of significand, and half of the smallest step; a scale is wrong by little beside them.
    step = dequantized(torch.ones_like(values, dtype=torch.float32), scale)
    bound = 2.0**-4 * 1.0001 * centred.abs() + 2.0**-10 * step + lost
    assert ((dequantized(values, scale) - centred).abs() <= bound).all()


@pytest.fixture
def memory_is_nan():
    """What an op leaves unwritten shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3, dtype=torch.float8_e4m3fn).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("head_width", [128, 64, 48, 6])
def test_the_table_has_the_rotation_of_the_model(head_width):
    tables = axis_tables(head_width, 8)
    found = turns_at(torch.cat(tables, -1), torch.arange(3 * 5 * 7), 5, 7)
    assert torch.equal(found, rotation(tables, 3, 5, 7))
    assert torch.equal(turns_table(head_width, 8), torch.cat(tables, -1).float())


@pytest.mark.usefixtures("memory_is_nan")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_queries_and_keys_are_the_formula(draw, case, dtype):
    given = inputs(draw, case, dtype)
    for found, expected in zip(qk_norm_rope(**given), exact(given), strict=True):
        assert found.dtype == dtype
        assert found.is_contiguous()
        assert_rounded(found, expected)


def test_it_is_what_the_model_does(draw):
    given = inputs(draw, (1, (2, 3, 4), 3, 64))
    norm = WidthNorm(3 * 64, EPS).to(given["q"].device, torch.float64)
    norm.load_state_dict({"weight": given["weight_q"].double()})
    turn = rotation(axis_tables(64, 4), 2, 3, 4).to(given["q"].device)
    with torch.no_grad():
        expected = rotate(split_heads(norm(given["q"].double()), 3), turn)
    # Half a unit more for the cosines and sines of the table.
    difference = (qk_norm_rope(**given)[0] - expected).abs()
    assert (difference <= (SUMS + 2.0**-23) * pair_size(expected) + 2.0**-24 * expected.abs()).all()


@pytest.mark.usefixtures("memory_is_nan")
@pytest.mark.parametrize(("case", "centered"), [*product(CASES, (False, True)), *product(FP8_CASES, (True,))])
def test_fp8_is_the_formula_within_its_rounding(draw, case, centered):
    given = inputs(draw, case, torch.bfloat16)
    batches, _, heads, head_width = case
    center = draw(batches, heads, head_width) if centered else None
    q8, q_scale, k8, k_scale = qk_norm_rope_fp8(**given, center=center)
    q, k = exact(given)
    zero = torch.zeros(batches, heads, head_width, device=q.device)
    assert_quantized(q8, q_scale, q, zero)
    assert_quantized(k8, k_scale, k, zero if center is None else center)


def test_fp8_is_its_reference(draw):
    given = inputs(draw, (1, (3, 5, 9), 2, 64))
    center = draw(1, 2, 64)
    found, expected = qk_norm_rope_fp8(**given, center=center), qk_norm_rope_fp8_ref(**given, center=center)
    for values, exact in zip(found[::2], expected[::2], strict=True):
        # A value on the verge of two E4M3 values may fall to either side.
        assert (values.view(torch.uint8) != exact.view(torch.uint8)).float().mean() < 0.01


def test_where_nothing_is_rounded_scales_are_equal(draw):
    """Values of +-1 without a turn: what comes out is the weight, of either sign."""
    given = inputs(draw, (1, (1, 1, 1), 2, 64)) | {"eps": 1e-30}
    for name in "qk":
        given[name] = given[name].sign()
    found = qk_norm_rope_fp8(**given)
    for name, values, scale in zip("qk", found[::2], found[1::2], strict=True):
        expected = quantized_ref((given[name] * given[f"weight_{name}"]).unflatten(-1, (2, 64)))
        assert torch.equal(scale, expected[1])
        assert torch.equal(values.float(), expected[0].float())


def test_zeros_have_the_scale_1(draw):
    given = inputs(draw, (1, (1, 1, 5), 2, 16))
    q8, q_scale, k8, _ = qk_norm_rope_fp8(**given | {"q": torch.zeros_like(given["q"])})
    assert (q_scale == 1).all()
    assert (q8.float() == 0).all()
    assert k8.float().abs().amax() == 448


def test_tokens_beyond_the_last_have_no_part_in_a_scale(draw):
    """Of 129 keys the last is the center itself: its block holds noise, and zeros less the center would be large."""
    given = inputs(draw, (1, (1, 3, 43), 2, 64))
    keys = exact(given)[1]
    *_, k8, k_scale = qk_norm_rope_fp8(**given, center=keys[:, -1].float())
    lost = (SUMS + 2.0**-24) * pair_size(keys[:, -1]).amax()
    assert ((k_scale[..., 1] <= lost / 448) | (k_scale[..., 1] == 1)).all()
    assert (dequantized(k8, k_scale)[:, -1].abs() <= 1.1 * lost).all()
    assert (k_scale[..., 0] > 1e-3).all()


def test_softmax_does_not_depend_on_the_center_and_e4m3_gains_by_it(draw):
    given = inputs(draw, (2, (2, 5, 13), 3, 64))
    given["k"] += 6 * draw(3 * 64)
    (q, k), center = exact(given), center_of(given)

    def attention(keys):
        return (torch.einsum("bnhd,bmhd->bhnm", q, keys) / 8).softmax(-1)

    plain = attention(k)
    torch.testing.assert_close(attention(k - center.double()[:, None]), plain, rtol=0, atol=1e-12)
    errors = []
    for vector in (None, center):
        *_, k8, k_scale = qk_norm_rope_fp8(**given, center=vector)
        errors.append((attention(dequantized(k8, k_scale).double()) - plain).abs().mean())
    assert errors[1] < 0.7 * errors[0]  # 0.42 of it


def test_the_center_is_a_mean_over_tokens_of_every_column(draw):
    """64 columns, of which a step of 64 would meet only the first."""
    given = inputs(draw, (2, (1, 61, 64), 3, 16))
    token = torch.arange(0, 61 * 64, 61, device=given["k"].device)
    assert len((token % 64).unique()) == 64
    found = center_of(given)
    assert found.shape == (2, 3, 16)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), exact(given)[1][:, token].mean(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "case"),
    [(qk_norm_rope, (2, (1, 2, 3), 3, 48)), (qk_norm_rope_fp8, (2, (3, 5, 9), 3, 64)), (qk_norm_rope_fp8, CASES[-1])],
)
def test_views_of_fused_qkv_are_read_and_nothing_else(draw, op, case):
    """NaN in the values, in one token more, and in what the table has for positions that do not occur."""
    batches, grid, heads, head_width = case
    given = inputs(draw, case, torch.bfloat16)
    _, tokens, width = given["q"].shape
    fused = given["q"].new_full((batches, tokens + 1, 3 * width + 16), torch.nan)
    views = {"q": fused[:, :tokens, :width], "k": fused[:, :tokens, width : 2 * width]}
    for name, view in views.items():
        view.copy_(given[name])
    axis = torch.tensor([axis for axis, pairs in enumerate(axis_pairs(head_width)) for _ in range(pairs)])
    occurs = torch.arange(max(grid))[:, None] < torch.tensor(grid)[axis]
    views["turns"] = given["turns"].masked_fill(~occurs.to(fused.device), torch.nan)
    more = {"center": draw(batches, heads, head_width)} if op is qk_norm_rope_fp8 else {}
    for found, expected in zip(op(**given | views, **more), op(**given, **more), strict=True):
        assert not found.float().isnan().any()
        assert torch.equal(found.float(), expected.float())


def test_tokens_far_apart_in_memory_are_found(draw):
    """Offsets beyond 2**31; memory that is not touched costs nothing on a CPU."""
    given = inputs(draw, (1, (1, 1, 3), 2, 16), torch.bfloat16)
    far = torch.empty(2**31 + 32, dtype=torch.bfloat16, device=given["k"].device)
    view = far.as_strided((1, 3, 32), (2**31, 2**30, 1))
    view.copy_(given["k"])
    for op in (qk_norm_rope, qk_norm_rope_fp8):
        for found, expected in zip(
            op(**given | {"q": view, "k": view}), op(**given | {"q": view.clone()}), strict=True
        ):
            assert torch.equal(found.float(), expected.float())


def test_a_nan_stays_in_its_token(draw):
    given = inputs(draw, (1, (1, 2, 2), 3, 64))
    clean = qk_norm_rope(**given)
    given["k"][0, 2, 5] = torch.nan
    q, k = qk_norm_rope(**given)
    assert torch.equal(q, clean[0])
    assert k[0, 2].isnan().all()
    assert torch.equal(k[0, [0, 1, 3]], clean[1][0, [0, 1, 3]])


def test_nothing_in_nothing_out(draw):
    given = inputs(draw, (1, (0, 5, 7), 3, 64))
    assert [x.shape for x in qk_norm_rope(**given)] == [(1, 0, 3, 64)] * 2
    assert [x.shape for x in qk_norm_rope_fp8(**given)] == [(1, 0, 3, 64), (1, 3, 0)] * 2


@pytest.mark.parametrize("op", [qk_norm_rope, qk_norm_rope_fp8])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: {"q": g["q"].double()}, "expected q of float16 or bfloat16 or float32, got float64"),
        (lambda g: {"q": g["q"][0]}, r"expected q \[B, N, C\], got \[30, 192\]"),
        (lambda g: {"k": g["k"].half()}, "expected k of float32, got float16"),
        (lambda g: {"k": g["k"][:, 1:]}, r"expected k \[B = 2, N = 30, C = 192\], got \[2, 29, 192\]"),
        (lambda g: {"k": g["k"].mT.contiguous().mT}, "expected k with stride 1 along axis C"),
        (lambda g: {"weight_k": g["weight_k"][:64]}, r"expected weight_k \[C = 192\], got \[64\]"),
        (lambda g: {"turns": g["turns"].double()}, "expected turns of float32, got float64"),
        (lambda g: {"turns": g["turns"][:, ::2]}, "expected turns with stride 32 along axis P"),
        (lambda g: {"turns": turns_table(128)}, "expected C a multiple of 128, .*, got 192"),
        (lambda g: {"columns": 4}, "expected N in frames of 5 rows x 4 columns, got 30"),
        (lambda g: {"rows": 0}, "expected N in frames of 0 rows x 3 columns, got 30"),
        (lambda g: {"turns": turns_table(64, 4)}, "expected at most 4 positions on an axis, as turns has, got 5"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, op, change, said):
    given = inputs(draw, (2, (2, 5, 3), 3, 64))
    changed = {n: v.to(given["q"].device) if n == "turns" else v for n, v in change(given).items()}
    with pytest.raises(ValueError, match=said):
        op(**given | changed)


def test_a_center_of_other_heads_is_refused(draw):
    with pytest.raises(ValueError, match=r"expected center \[B = 1, H = 3, D = 64\], got \[1, 64, 3\]"):
        qk_norm_rope_fp8(**inputs(draw, (1, (2, 5, 3), 3, 64)), center=draw(1, 64, 3))


def test_ops_are_complete_for_compile_and_export(draw):
    given = inputs(draw, (1, (1, 2, 2), 3, 64))
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(qk_norm_rope, tuple(given.values()), test_utils=checks)
    for center in (None, draw(1, 3, 64)):
        torch.library.opcheck(qk_norm_rope_fp8, (*given.values(), center), test_utils=checks)
    exported = torch.export.export(Keys(given), (given["q"], given["k"]))
    assert torch.equal(exported.module()(given["q"], given["k"]), qk_norm_rope(**given)[1])


class Keys(torch.nn.Module):
    def __init__(self, given):
        super().__init__()
        self.given = given

    def forward(self, q, k):
        return qk_norm_rope(**self.given | {"q": q, "k": k})[1]


@pytest.mark.gpu
@pytest.mark.parametrize("centered", [False, True])
def test_the_largest_window_at_its_real_size(draw, device, centered):
    """81 frames of 1280x720 from a fused product; the first blocks, one amid, the last, of 80 tokens."""
    grid, heads, width = (21, 45, 80), 12, 1536
    fused = torch.randn(1, 21 * 45 * 80, 3 * width, device=device, dtype=torch.bfloat16)
    q, k, _ = fused.chunk(3, -1)
    given = inputs(draw, (1, (1, 1, 1), heads, 128)) | dict(
        q=q, k=k, turns=turns_table(128).to(device), rows=grid[1], columns=grid[2]
    )
    center = center_of(given) if centered else None
    plain, (q8, q_scale, k8, k_scale) = qk_norm_rope(**given), qk_norm_rope_fp8(**given, center=center)
    zero = torch.zeros(1, heads, 128, device=device)
    for block in (0, 1, 295, 589, 590):
        part = slice(128 * block, min(128 * block + 128, q.shape[1]))
        turn = turns_at(given["turns"].double(), torch.arange(part.start, part.stop, device=device), *grid[1:])
        wide_q = norm_rope_ref(q[:, part].double(), given["weight_q"], turn, EPS)
        wide_k = norm_rope_ref(k[:, part].double(), given["weight_k"], turn, EPS)
        assert_rounded(plain[0][:, part], wide_q)
        assert_rounded(plain[1][:, part], wide_k)
        assert_quantized(q8[:, part], q_scale[..., block : block + 1], wide_q, zero)
        assert_quantized(k8[:, part], k_scale[..., block : block + 1], wide_k, zero if center is None else center)
