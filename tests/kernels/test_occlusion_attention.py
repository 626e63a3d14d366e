"""Attention with one bias per key against its formula in float64, through pointers and through tensor descriptors."""

from itertools import cycle
from math import prod
from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels import occlusion_attention_hopper as hopper  # noqa: E402
from clear_rt.kernels.attention_blocks import HEAD_WIDTHS  # noqa: E402
from clear_rt.kernels.attention_merge import merge_partials  # noqa: E402
from clear_rt.kernels.chips import INTERPRETED, capability_of  # noqa: E402
from clear_rt.kernels.contract import HALVES  # noqa: E402
from clear_rt.kernels.occlusion_attention import (  # noqa: E402
    DTYPES,
    OP,
    launch,
    occlusion_attention,
    occlusion_attention_ref,
)
from clear_rt.models.attention import attention_ref  # noqa: E402

# numpy, in the interpreter, remarks on what a GPU does in silence: log2(0), and -inf where fp32 ends.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")

PATHS = ("pointers", "descriptors")
SIZES = (1, 2, 15, 16, 17, 63, 64, 65, 130)
HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
# Half a unit in the last place of fp32, and the fewest keys that are added at once.
U, BLOCK_TAIL = 2.0**-24, 32
NONE, AROUND = -torch.inf, 64


@pytest.fixture
def qkv(draw):
    """q [B, N, H, D], k and v [B, M, H, D]: views of a fused [B, tokens, 3, H, D], all else in which is NaN."""

    def drawn(batches, queries, keys, heads, width, dtype=torch.float32):
        shape = (batches + 1, max(queries, keys) + 200, 3, heads, width)
        fused = torch.full(shape, torch.nan, dtype=dtype, device=draw(1).device)
        views = [fused[:batches, 70 : 70 + tokens, place] for place, tokens in enumerate((queries, keys, keys))]
        for view in views:
            view.copy_(draw(*view.shape, dtype=dtype))
        return views

    return drawn


@pytest.fixture
def biases(draw):
    """Biases [B, H, M] of some units, each row between NaNs."""

    def drawn(batches, heads, keys):
        rows = torch.full((batches, heads, keys + 2 * AROUND), torch.nan, device=draw(1).device)
        rows[..., AROUND:-AROUND] = draw(batches, heads, keys, scale=3.0)
        return rows[..., AROUND:-AROUND]

    return drawn


def attend(path, q, k, v, bias):
    """Attention and log-sum-exp by one of the two kernels. Both begin as NaN, between NaNs that must stay."""
    batches, queries, heads, _ = q.shape
    out_memory, out = among_nans(q.shape, q)
    lse_memory, lse = among_nans((batches, heads, queries), torch.empty(0, device=q.device))
    if path == "pointers":
        launch(q, k, v, bias, out, lse, capability_of(q))
    else:
        capability = hopper.CAPABILITIES[0] if INTERPRETED else capability_of(q)
        if capability not in hopper.CAPABILITIES:
            pytest.skip(f"sm_{capability} takes no descriptors here")
        hopper.launch(q, k, v, bias, out, lse, capability, programs=3)
    for memory in (out_memory, lse_memory):
        assert memory[:AROUND].isnan().all()
        assert memory[-AROUND:].isnan().all()
    return out, lse


def among_nans(shape, like):
    memory = like.new_full((prod(shape) + 2 * AROUND,), torch.nan)
    return memory, memory[AROUND:-AROUND].view(shape)


class Exact(NamedTuple):
    """Attention and log-sum-exp in float64, and by how much a kernel may miss them."""

    out: torch.Tensor
    lse: torch.Tensor
    out_error: torch.Tensor
    lse_error: torch.Tensor


def exactly(q, k, v, bias):
    """The result and its bounds, for a kernel that computes in fp32.

    The logit l_j = s_j + b_j is off by the sum of D products, D U sum |q||k|, and a few roundings of s_j, of b_j and of
    its distance to the largest: e_j in all. Sums over keys, exp2 and one rescaling per block add r. As weights w_j are
    divided by their sum, the attention moves by at most sum_j w_j (e_j + sum_i w_i e_i + r) |v_j|. Then there is the
    rounding of w_j to the dtype of v, in fp16 to a multiple of 2**-24 of the largest, and that of the result. Terms of
    second order get a hundredth more.
    """
    q64, k64, v64 = (x.double() for x in (q, k, v))
    bias64 = torch.zeros(1, 1, 1, device=q.device).double() if bias is None else bias.double()
    out, lse = occlusion_attention_ref(q64, k64, v64, bias64)
    seen, centre = (bias64 > NONE)[:, :, None], finite(lse)[..., None]
    logits = torch.einsum("bnhd,bmhd->bhnm", q64, k64) / q.shape[-1] ** 0.5 + finite(bias64)[:, :, None]
    sizes = torch.einsum("bnhd,bmhd->bhnm", q64.abs(), k64.abs()) / q.shape[-1] ** 0.5
    weights = (logits - centre).exp() * seen
    e = U * ((q.shape[-1] + 8) * sizes + 8 * finite(bias64).abs()[:, :, None] + 2 * (logits - centre).abs())
    mean_e = (weights * e).sum(-1, keepdim=True)
    r = U * (k.shape[1] + 8 * (k.shape[1] // BLOCK_TAIL + 1) + 16)
    half_ulp = HALF_ULP[q.dtype]
    moved = weights * (e + mean_e + r + half_ulp) + seen * (2.0**-25 if q.dtype == torch.float16 else 0.0)
    out_error = torch.einsum("bhnm,bmhd->bnhd", moved, v64.abs()) + half_ulp * out.abs()
    lse_error = mean_e[..., 0] + r + 4 * U * (finite(lse).abs() + (logits * seen).abs().amax(-1))
    return Exact(out, lse, 1.01 * out_error, 1.01 * lse_error)


def finite(x):
    return x.where(x > NONE, 0.0)


def assert_exact(found, exact):
    out, lse = found
    assert ((out.double() - exact.out).abs() <= exact.out_error).all()
    assert ((lse == exact.lse) | ((lse.double() - exact.lse).abs() <= exact.lse_error)).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", HEAD_WIDTHS)
def test_numbers_of_queries_and_keys(qkv, biases, path, width):
    """Every number with itself, the next and a distant one, with a bias and without."""
    pairs = [(queries, SIZES[(place + shift) % 9]) for shift in (0, 1, 4) for place, queries in enumerate(SIZES)]
    for (queries, keys), biased in zip(pairs, cycle((True, False)), strict=False):
        q, k, v = qkv(1, queries, keys, 1, width, DTYPES[-1])
        bias = biases(1, 1, keys) if biased else None
        assert_exact(attend(path, q, k, v, bias), exactly(q, k, v, bias))


@pytest.mark.parametrize("path", PATHS)
def test_numbers_of_heads(qkv, biases, path):
    for heads in range(1, 13):
        q, k, v = qkv(1, 3, 40, heads, 64, DTYPES[-1])
        bias = biases(1, heads, 40)
        assert_exact(attend(path, q, k, v, bias), exactly(q, k, v, bias))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("biased", [True, False])
def test_batches_heads_and_dtypes(qkv, biases, path, dtype, biased):
    q, k, v = qkv(2, 131, 300, 2, 64, dtype)
    bias = biases(2, 2, 300) if biased else None
    assert_exact(attend(path, q, k, v, bias), exactly(q, k, v, bias))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", HALVES)
def test_roundings_have_no_direction(qkv, path, dtype):
    """Cutting off, of weights or of results, would be about half a unit too little everywhere."""
    q, k, v = qkv(1, 40, 200, 2, 64, dtype)
    v.abs_()
    exact = exactly(q, k, v, None).out
    out, _ = attend(path, q, k, v, None)
    assert ((out.double() - exact) / exact).mean().abs() <= HALF_ULP[dtype] / 8


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", HALVES)
def test_no_bias_is_a_bias_of_zero(qkv, path, dtype):
    q, k, v = qkv(1, 40, 200, 2, 64, dtype)
    plain, biased = (
        attend(path, q, k, v, bias)[0].double() for bias in (None, torch.zeros(1, 2, 200, device=q.device))
    )
    # One unit in the last place of what is summed up: a weight on the verge may be rounded to either side.
    size = occlusion_attention_ref(q.double(), k.double(), v.double().abs(), None)[0]
    assert ((plain - biased).abs() <= 2 * HALF_ULP[dtype] * size).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("constant", [1e4, -1e4, 3.0])
def test_a_constant_bias_changes_only_the_log_sum(qkv, biases, path, constant):
    q, k, v = qkv(1, 20, 150, 2, 64, DTYPES[-1])
    bias = torch.full((1, 2, 150), constant, device=q.device)
    exact = exactly(q, k, v, bias)
    plain_out, plain_lse = occlusion_attention_ref(q.double(), k.double(), v.double(), None)
    torch.testing.assert_close((exact.out, exact.lse), (plain_out, plain_lse + constant))
    assert_exact(attend(path, q, k, v, bias), exact)


@pytest.mark.parametrize("path", PATHS)
def test_large_biases_of_both_signs(qkv, biases, path):
    q, k, v = qkv(1, 20, 150, 2, 64, DTYPES[-1])
    bias = 1e4 * biases(1, 2, 150).sign()
    assert_exact(attend(path, q, k, v, bias), exactly(q, k, v, bias))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", [-1e5, torch.finfo(torch.float32).min, NONE])
def test_the_only_key_that_counts_gives_its_value(qkv, path, dtype, other):
    q, k, v = qkv(1, 5, 150, 3, 64, dtype)
    bias = torch.full((1, 3, 150), other, device=q.device)
    keys = (0, 70, 149)  # one for each head
    for head, key in enumerate(keys):
        bias[:, head, key] = 0
    out, _ = attend(path, q, k, v, bias)
    for head, key in enumerate(keys):
        assert torch.equal(out[:, :, head], v[:, key, None, head].expand(-1, 5, -1))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keys", [1, 33, 128, 150])
def test_queries_that_see_no_key_get_zero(qkv, biases, path, dtype, keys):
    q, k, v = qkv(1, 5, keys, 2, 64, dtype)
    bias = biases(1, 2, keys)
    bias[:, 1] = NONE
    out, lse = attend(path, q, k, v, bias)
    assert (out[:, :, 1] == 0).all()
    assert (lse[:, 1] == NONE).all()
    assert_exact((out, lse), exactly(q, k, v, bias))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("hidden", [slice(0, 128), slice(128, 150), slice(10, 140)])
def test_hidden_keys_are_not_there(qkv, biases, path, hidden):
    q, k, v = qkv(1, 5, 150, 2, 64, DTYPES[-1])
    bias = biases(1, 2, 150)
    bias[..., hidden] = NONE
    left = (bias[0, 0] > NONE).nonzero()[:, 0]
    assert_exact(attend(path, q, k, v, bias), exactly(q, k[:, left], v[:, left], bias[..., left]))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_of_keys_does_not_matter(qkv, biases, path, dtype):
    q, k, v = qkv(1, 20, 150, 2, 64, dtype)
    bias = biases(1, 2, 150)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(1)).to(q.device)
    assert_exact(attend(path, q, k[:, order], v[:, order], bias[..., order]), exactly(q, k, v, bias))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_of_keys_merge_into_the_whole(qkv, biases, path, dtype):
    q, k, v = qkv(2, 20, 150, 2, 64, dtype)
    bias = biases(2, 2, 150)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(1)).to(q.device)
    groups = [(q, k[:, some], v[:, some], bias[..., some]) for some in order.split((1, 40, 109))]
    outs, lses = zip(*(attend(path, *group) for group in groups), strict=True)
    out, lse = merge_partials(torch.stack(outs), torch.stack(lses))
    whole, parts = exactly(q, k, v, bias), [exactly(*group) for group in groups]
    # What parts are off, by their share of the whole, and the share itself, off by what both its logarithms are.
    lse_error = sum((part.lse - whole.lse).exp() * part.lse_error for part in parts) + 8 * U * (1 + whole.lse.abs())
    out_error = HALF_ULP[dtype] * whole.out.abs()
    for part in parts:
        share_error = (part.lse_error + lse_error).transpose(1, 2)[..., None]
        share = (part.lse - whole.lse).exp().transpose(1, 2)[..., None]
        out_error = out_error + share * (part.out_error + share_error * part.out.abs())
    assert_exact((out, lse), Exact(whole.out, whole.lse, 1.01 * out_error, 1.01 * lse_error))


@pytest.mark.parametrize("path", PATHS)
def test_biases_may_be_shared_between_heads_and_batches(qkv, biases, path):
    q, k, v = qkv(2, 5, 150, 3, 64, DTYPES[-1])
    for bias in (
        biases(1, 1, 150).expand(2, 3, 150),
        biases(2, 1, 150).expand(2, 3, 150),
        biases(4, 6, 150)[1::2, ::2],
    ):
        found = attend(path, q, k, v, bias)
        for strided, dense in zip(found, attend(path, q, k, v, bias.contiguous()), strict=True):
            assert torch.equal(strided, dense)


def test_heads_may_come_before_tokens(qkv, biases):
    q, k, v = qkv(2, 20, 70, 3, 64, DTYPES[-1])
    bias = biases(2, 3, 70)
    swapped = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    assert torch.equal(occlusion_attention(*swapped, bias)[0], occlusion_attention(q, k, v, bias)[0])


@pytest.mark.parametrize("path", PATHS)
def test_offsets_need_more_than_32_bits(draw, path):
    """Three steps of 2**30 elements along one axis of each tensor, in memory of which few pages are ever touched."""
    far, shape = 2**30, (3, 3, 3, 64)
    memory = torch.empty(2 * far + 2**14, dtype=torch.float16, device=draw(1).device)
    strides = ((far, 192, 64, 1), (192, far, 64, 1), (192, 64, far, 1))
    q, k, v = (memory.as_strided(shape, stride, 1024 * place) for place, stride in enumerate(strides))
    for view in (q, k, v):
        view.copy_(draw(*shape, dtype=torch.float16))
    assert_exact(attend(path, q, k, v, None), exactly(q, k, v, None))


@pytest.mark.parametrize("path", PATHS)
def test_nan_in_a_query_stays_there_and_in_a_key_is_not_hidden(qkv, path):
    q, k, v = qkv(1, 5, 70, 2, 64, DTYPES[-1])
    clean = attend(path, q, k, v, None)[0]
    q[0, 2, 1, 5] = torch.nan
    found = attend(path, q, k, v, None)[0]
    touched = torch.zeros(1, 5, 2, dtype=torch.bool, device=q.device)
    touched[0, 2, 1] = True
    assert found[touched].isnan().all()
    assert torch.equal(found[~touched], clean[~touched])
    v[0, 69, 0, 3] = torch.nan
    assert attend(path, q, k, v, None)[0][0, :, 0, 3].isnan().all()


def test_the_reference_is_that_of_the_models(qkv, biases):
    q, k, v = qkv(2, 5, 9, 3, 64)
    for bias in (None, biases(2, 3, 9)):
        torch.testing.assert_close(occlusion_attention_ref(q, k, v, bias)[0], attention_ref(q, k, v, bias))


def test_the_op_returns_what_its_kernel_wrote(qkv, biases):
    q, k, v = qkv(2, 5, 70, 3, 64, DTYPES[-1])
    bias = biases(2, 3, 70)
    out, lse = attend("pointers", q, k, v, bias)
    assert all(map(torch.equal, occlusion_attention(q, k, v, bias, True), (out, lse)))
    found, none = occlusion_attention(q, k, v, bias)
    assert torch.equal(found, out)
    assert (none.shape, none.dtype) == ((0,), torch.float32)


def test_descriptors_take_what_suits_them(qkv):
    q, k, v = qkv(1, 5, 200, 2, 64, torch.float16)
    assert all(hopper.suits(q, k, v, capability) for capability in (90, 100, 103))
    assert not any(hopper.suits(q, k, v, capability) for capability in (80, 89, 120))
    assert not hopper.suits(q, k[:, :127], v[:, :127], 90)
    assert not hopper.suits(q, k[:, :1].expand(-1, 200, -1, -1), v, 90)
    rows = torch.zeros(1, 200, 2 * 64 + 4, dtype=torch.float16)
    assert not hopper.suits(q, rows[..., :128].unflatten(2, (2, 64)), v, 90)
    rows = torch.zeros(1, 200, 2 * 64 + 8, dtype=torch.float16)
    assert hopper.suits(q, rows[..., 8:].unflatten(2, (2, 64)), v, 90)
    assert not hopper.suits(q, rows[..., 4:132].unflatten(2, (2, 64)), v, 90)


def test_nothing_in_nothing_out(qkv):
    q, k, v = qkv(2, 1, 3, 3, 64, DTYPES[-1])
    out, lse = occlusion_attention(q[:, :0], k, v, None, True)
    assert (out.shape, lse.shape) == ((2, 0, 3, 64), (2, 3, 0))
    assert occlusion_attention(q[:0], k[:0], v[:0], None)[0].shape == (0, 1, 3, 64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda q, k, v, b: (q.double(), k, v, b), "expected q of float16 or bfloat16.*, got float64"),
        (lambda q, k, v, b: (q, k, v.to(torch.int16), b), "expected v of float16, got int16"),
        (lambda q, k, v, b: (q, k[:, :6], v, b), r"expected v \[B = 2, M = 6, H = 3, D = 64\], got \[2, 7, 3, 64\]"),
        (lambda q, k, v, b: (q, k[:, :, :1], v, b), r"expected k \[B = 2, M.*H = 3, D = 64\], got \[2, 7, 1, 64\]"),
        (lambda q, k, v, b: (q, k, v, b[:, :1]), r"expected bias \[B = 2, H = 3, M = 7\], got \[2, 1, 7\]"),
        (lambda q, k, v, b: (q, k, v, b.half()), "expected bias of float32, got float16"),
        (lambda q, k, v, b: (q, k, v, b.mT.contiguous().mT), "stride 1 along axis M, got strides .*contiguous"),
        (lambda q, k, v, b: (q, k.mT.contiguous().mT, v, b), "expected k with stride 1 along axis D"),
        (lambda q, k, v, b: (q[..., :32], k[..., :32], v[..., :32], b), "heads of 64 or 128 channels, got 32"),
        (lambda q, k, v, b: (q, k[:, :0], v[:, :0], b[..., :0]), "at least one key, got none"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(qkv, biases, change, said):
    q, k, v = qkv(2, 5, 7, 3, 64, torch.float16)
    with pytest.raises(ValueError, match=f"^{OP}: .*{said}"):
        occlusion_attention(*change(q, k, v, biases(2, 3, 7)))


def test_the_op_is_complete_for_compile_and_export(qkv, biases):
    q, k, v = qkv(1, 5, 7, 2, 64, torch.float16)
    bias = biases(1, 2, 7).contiguous()
    for arguments in ((q, k, v, None), (q, k, v, bias, True)):
        torch.library.opcheck(occlusion_attention, arguments, test_utils=("test_schema", "test_faketensor"))
    exported = torch.export.export(Attention(), (q, k, v, bias))
    assert torch.equal(exported.module()(q, k, v, bias), occlusion_attention(q, k, v, bias)[0])


class Attention(torch.nn.Module):
    def forward(self, q, k, v, bias):
        return occlusion_attention(q, k, v, bias)[0]


@pytest.mark.gpu
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("dtype", "tokens"), [(torch.bfloat16, 20_160), (torch.float16, 75_600)])
def test_real_sizes_on_a_gpu(path, dtype, tokens):
    """Wan's twelve heads over a band and over the whole of 720p: sampled queries, and nothing that is not a number."""
    random = torch.Generator("cuda").manual_seed(0)
    fused = torch.randn(1, tokens, 3, 12, 128, generator=random, device="cuda").to(dtype)
    q, k, v = fused.unbind(2)
    bias = -4 * torch.rand(1, 12, tokens, generator=random, device="cuda")
    out, lse = attend(path, q, k, v, bias)
    assert out.isfinite().all()
    assert lse.isfinite().all()
    rows = torch.tensor([0, 127, 128, tokens // 2, tokens - 2, tokens - 1], device="cuda")
    for head in range(0, 12, 5):
        one = slice(head, head + 1)
        exact = exactly(q[:, rows, one], k[:, :, one], v[:, :, one], bias[:, one])
        assert_exact((out[:, rows, one], lse[:, one, rows]), exact)
