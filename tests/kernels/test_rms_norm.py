"""The norm over the width against its formula in float64, and against the module that it stands for."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.rms_norm import rms_norm, rms_norm_ref  # noqa: E402
from clear_rt.models.dit_blocks import WidthNorm  # noqa: E402

EPS = 1e-6
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Batches, tokens, width: one token, a width that fills no power of two, Wan's, one number.
SHAPES = ((1, 1, 8), (2, 7, 96), (1, 3, 1536), (3, 1, 1))
HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def assert_rounded(found, exact):
    """`found` is `exact`, of float64, but for its own rounding and as much as 32 of fp32; halves may be subnormal."""
    tolerance = (HALF_ULP[found.dtype] + 32 * 2.0**-24) * exact.abs() + 2.0**-25
    assert ((found.double() - exact).abs() <= tolerance).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm_is_its_formula(draw, shape, dtype):
    x, weight = draw(*shape, dtype=dtype, scale=3.0) + 1, draw(shape[-1], dtype=dtype)
    exact = rms_norm_ref(x.double(), weight.double(), EPS)
    found = rms_norm(x, weight, EPS)
    assert (found.dtype, found.is_contiguous()) == (dtype, True)
    assert_rounded(found, exact)
    assert_rounded(rms_norm_ref(x, weight, EPS), exact)


def test_it_is_the_norm_of_the_model(draw, device):
    norm = WidthNorm(96, EPS).to(device).requires_grad_(False)
    norm.weight.copy_(draw(96))
    x = draw(2, 5, 96)
    assert_rounded(rms_norm(x, norm.weight, norm.eps), norm(x).double())


def test_a_token_of_zeros_stays_zero_and_eps_counts(device):
    x = torch.zeros(1, 2, 96, device=device)
    x[0, 1] = 1e-3
    found = rms_norm(x, torch.ones(96, device=device), 3e-6)
    assert found[0, 0].tolist() == [0] * 96
    assert found[0, 1].tolist() == pytest.approx([0.5] * 96)


@pytest.mark.parametrize("dtype", DTYPES)
def test_strides_are_followed_and_what_lies_between_is_not_read(draw, dtype):
    poisoned = torch.full((2, 5, 3 * 96), torch.nan, dtype=dtype, device=draw(1).device)
    poisoned[:, :4, 96:192] = draw(2, 4, 96, dtype=dtype)
    view, weight = poisoned[:, :4, 96:192], draw(96)
    found = rms_norm(view, weight, EPS)
    assert found.is_contiguous()
    assert torch.equal(found, rms_norm(view.contiguous(), weight, EPS))


def test_a_nan_stays_in_its_token(draw):
    x, weight = draw(1, 4, 96), draw(96)
    clean = rms_norm(x, weight, EPS)
    x[0, 2, 5] = torch.nan
    found = rms_norm(x, weight, EPS)
    assert found[0, 2].isnan().all()
    assert torch.equal(found[0, [0, 1, 3]], clean[0, [0, 1, 3]])


def test_squares_of_float16_do_not_overflow(draw):
    x, weight = draw(1, 2, 96, dtype=torch.float16, scale=1000.0) + 30000, draw(96)
    assert_rounded(rms_norm(x, weight, EPS), rms_norm_ref(x.double(), weight.double(), EPS))


def test_nothing_in_nothing_out(draw):
    assert rms_norm(draw(1, 0, 96), draw(96), EPS).shape == (1, 0, 96)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, w: (x.double(), w), "rms_norm: expected x of float16 or bfloat16 or float32, got float64"),
        (lambda x, w: (x[0], w), r"expected x \[B, N, C\], got \[5, 96\]"),
        (lambda x, w: (x, w[:95]), r"expected weight \[C = 96\], got \[95\]"),
        (lambda x, w: (x.transpose(1, 2), w[:5]), "stride 1 along axis C, got strides .*contiguous"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, change, said):
    with pytest.raises(ValueError, match=said):
        rms_norm(*change(draw(2, 5, 96), draw(96)), EPS)


def test_the_op_is_complete_for_compile_and_export(draw):
    x, weight = draw(2, 5, 96), draw(96)
    torch.library.opcheck(rms_norm, (x, weight, EPS), test_utils=("test_schema", "test_faketensor"))
    exported = torch.export.export(Norm(), (x, weight))
    assert torch.equal(exported.module()(x, weight), rms_norm(x, weight, EPS))


class Norm(torch.nn.Module):
    def forward(self, x, weight):
        return rms_norm(x, weight, EPS)


@pytest.mark.gpu
def test_the_largest_window_at_its_real_size(draw, device):
    """The queries of a fused product of 81 frames of 1280x720."""
    torch.manual_seed(0)
    x = torch.randn(1, 75_600, 3 * 1536, device=device, dtype=torch.bfloat16)[..., :1536]
    weight = draw(1536, dtype=torch.bfloat16)
    assert_rounded(rms_norm(x, weight, EPS), rms_norm_ref(x.double(), weight.double(), EPS))
