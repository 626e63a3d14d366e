"""Attention over groups of keys, joined."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.attention_merge import merge_partials  # noqa: E402
from clear_rt.kernels.occlusion_attention import occlusion_attention_ref  # noqa: E402

NONE = -torch.inf
# Half a unit in the last place of the result's dtype; that of fp32 is U.
HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
U = 2.0**-24


@pytest.fixture
def partials(draw):
    """Attention of groups of keys [P, B, N, H, D], their log-sum-exp [P, B, H, N], and both of the whole in float64."""

    def drawn(*sizes, dtype=torch.float32, spread=1.0):
        q, k, v = (draw(2, tokens, 3, 64, dtype=torch.float64) for tokens in (5, sum(sizes), sum(sizes)))
        bias = draw(2, 3, sum(sizes), dtype=torch.float64, scale=spread)
        groups = zip(k.split(sizes, 1), v.split(sizes, 1), bias.split(sizes, 2), strict=True)
        outs, lses = zip(*(occlusion_attention_ref(q, *group) for group in groups), strict=True)
        return torch.stack(outs).to(dtype), torch.stack(lses).float(), *occlusion_attention_ref(q, k, v, bias)

    return drawn


@pytest.mark.parametrize("dtype", HALF_ULP)
@pytest.mark.parametrize("sizes", [(9,), (1, 1), (5, 1, 30), (3,) * 16])
@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_groups_merge_into_the_whole(partials, dtype, sizes, spread):
    outs, lses, out, lse = partials(*sizes, dtype=dtype, spread=spread)
    found, found_lse = merge_partials(outs, lses)
    assert (found.dtype, found_lse.dtype) == (dtype, torch.float32)
    # A share exp(L_p - L) is off by the roundings of both logarithms and of exp; so is the sum by one of each group.
    share_error = U * (8 + len(sizes) + 4 * lses.abs().amax())
    assert ((found_lse - lse).abs() <= share_error).all()
    shares = (lses.double() - lse).exp().transpose(2, 3)[..., None]
    sizes_of_terms = (shares * outs.double().abs()).sum(0)
    assert ((found - out).abs() <= (2 * share_error + 2.02 * HALF_ULP[dtype]) * sizes_of_terms).all()


def test_one_group_is_the_whole(partials):
    outs, lses, _, _ = partials(9)
    out, lse = merge_partials(outs, lses)
    assert torch.equal(out, outs[0])
    assert torch.equal(lse, lses[0])


@pytest.mark.parametrize("attention", [0.0, torch.nan, torch.inf])
def test_a_group_that_was_not_seen_counts_nothing(partials, attention):
    outs, lses, _, _ = partials(5, 9)
    expected = merge_partials(outs, lses)
    more = torch.cat((outs, torch.full_like(outs[:1], attention))), torch.cat((lses, torch.full_like(lses[:1], NONE)))
    assert all(map(torch.equal, merge_partials(*more), expected))


def test_where_nothing_was_seen_there_is_nothing(partials):
    outs, lses, _, _ = partials(5, 9)
    lses[:, 1, 2, 3] = NONE
    out, lse = merge_partials(outs, lses)
    nothing = lse == NONE
    assert nothing.nonzero().tolist() == [[1, 2, 3]]
    assert (out.transpose(1, 2)[nothing] == 0).all()
    assert out.isfinite().all()


def test_a_log_sum_that_is_not_a_number_shows(partials):
    outs, lses, _, _ = partials(5, 9)
    lses[0, 1, 2, 3] = torch.nan
    out, lse = merge_partials(outs, lses)
    assert out[1, 3, 2].isnan().all()
    assert lse.isnan().nonzero().tolist() == [[1, 2, 3]]


def test_shares_do_not_overflow(partials):
    outs, lses, out, _ = partials(5, 9)
    for shift in (1e4, -1e4):
        shifted, lse = merge_partials(outs, lses + shift)
        # A logarithm near 1e4 has steps of 2**-10.
        torch.testing.assert_close(shifted.double(), out, rtol=0, atol=2.0**-10 * outs.abs().amax().item())
        assert lse.isfinite().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda outs, lses: (outs[0], lses), r"expected outs \[P, B, N, H, D\], got \[2, 5, 3, 64\]"),
        (lambda outs, lses: (outs, lses.mT), r"expected lses \[P = 2, B = 2, H = 3, N = 5\], got \[2, 2, 5, 3\]"),
        (lambda outs, lses: (outs, lses.double()), "expected lses of float32, got float64"),
        (lambda outs, lses: (outs[:0], lses[:0]), "at least one group of keys, got none"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(partials, change, said):
    outs, lses, _, _ = partials(5, 9)
    with pytest.raises(ValueError, match=f"^merge_partials: .*{said}"):
        merge_partials(*change(outs, lses))
