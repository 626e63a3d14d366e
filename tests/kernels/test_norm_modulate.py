"""LayerNorm with modulation, and what ends a branch, against their formulas in float64."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.gate_residual import (  # noqa: E402
    gate_residual,
    gate_residual_norm,
    gate_residual_norm_ref,
    gate_residual_ref,
)
from clear_rt.kernels.norm_modulate import norm_modulate, norm_modulate_ref  # noqa: E402

EPS = 1e-6
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Batches, tokens, width: one token, a width that fills no power of two, Wan's.
SHAPES = ((1, 1, 8), (2, 7, 96), (1, 3, 1536), (3, 1, 1))
# Half a unit in the last place for the one rounding of the result; for sums in fp32 as much as 32 of their roundings.
HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def assert_rounded(found, exact):
    """`found` is `exact`, of float64, but for its own rounding and that of sums in fp32."""
    tolerance = (HALF_ULP[found.dtype] + 32 * 2.0**-24) * exact.abs() + 32 * 2.0**-24 * exact.abs().amax()
    assert ((found.double() - exact).abs() <= tolerance).all()


def vectors(draw, width, count):
    return [draw(width) for _ in range(count)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_norm_modulate_is_its_formula(draw, shape, dtype):
    x, (shift, scale) = draw(*shape, dtype=dtype, scale=3.0) + 1, vectors(draw, shape[-1], 2)
    exact = norm_modulate_ref(x.double(), shift.double(), scale.double(), EPS)
    found = norm_modulate(x, shift, scale, EPS)
    assert found.dtype == dtype
    assert_rounded(found, exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gated", [True, False])
def test_gate_residual_is_its_formula(draw, shape, dtype, gated):
    x, y = draw(*shape, dtype=dtype), draw(*shape, dtype=dtype)
    gate = draw(shape[-1]) if gated else None
    exact = gate_residual_ref(x.double(), y.double(), None if gate is None else gate.double())
    assert_rounded(gate_residual(x, y, gate), exact)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_norm_of_the_fused_kernel_is_that_of_the_sum_as_stored(draw, dtype):
    x, y = draw(2, 5, 96, dtype=dtype), draw(2, 5, 96, dtype=dtype)
    gate, shift, scale = vectors(draw, 96, 3)
    total, normed = gate_residual_norm(x, y, gate, shift, scale, EPS)
    assert torch.equal(total, gate_residual(x, y, gate))
    assert torch.equal(normed, norm_modulate(total, shift, scale, EPS))


def test_fp8_output_is_the_rounded_product(draw):
    x, y = draw(2, 5, 96), draw(2, 5, 96)
    gate, shift, scale = vectors(draw, 96, 3)
    inverse = torch.tensor([150.0], device=x.device)  # some values go beyond 448
    exact = norm_modulate_ref(x.double(), shift.double(), scale.double(), EPS) * 150
    found = norm_modulate(x, shift, scale, EPS, inverse)
    assert found.dtype == torch.float8_e4m3fn
    assert found.float().abs().amax() == 448 < exact.abs().amax()
    # Half a unit of 3 bits of significand, and half of the smallest step.
    assert ((found.double() - exact.clamp(-448, 448)).abs() <= 2.0**-4 * exact.abs() * 1.0001 + 2.0**-10).all()
    _, fused = gate_residual_norm(x, y, gate, shift, scale, EPS, inverse)
    _, expected = gate_residual_norm_ref(x, y, gate, shift, scale, EPS, inverse)
    # A sum on the verge of two E4M3 values may fall to either side.
    assert ((fused.float() - expected.float()).abs() <= 2.0**-3 * expected.float().abs()).all()
    assert (fused.view(torch.uint8) != expected.view(torch.uint8)).float().mean() < 0.01


@pytest.mark.parametrize("dtype", DTYPES)
def test_strides_are_followed_and_what_lies_between_is_not_read(draw, dtype):
    poisoned = torch.full((2, 5, 3 * 96), torch.nan, dtype=dtype, device=draw(1).device)
    poisoned[:, :4, 96:192] = draw(2, 4, 96, dtype=dtype)
    view = poisoned[:, :4, 96:192]
    shift, scale = vectors(draw, 96, 2)
    assert torch.equal(norm_modulate(view, shift, scale, EPS), norm_modulate(view.contiguous(), shift, scale, EPS))
    total = gate_residual(view, view.contiguous(), None)
    assert torch.equal(total, gate_residual(view.contiguous(), view, None))


def test_a_nan_stays_in_its_token(draw):
    x, (shift, scale) = draw(1, 4, 96), vectors(draw, 96, 2)
    clean = norm_modulate(x, shift, scale, EPS)
    x[0, 2, 5] = torch.nan
    found = norm_modulate(x, shift, scale, EPS)
    assert found[0, 2].isnan().all()
    assert torch.equal(found[0, [0, 1, 3]], clean[0, [0, 1, 3]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_values_do_not_overflow(draw, dtype):
    x = draw(1, 2, 96, dtype=dtype, scale=200.0) + 1000
    shift, scale = torch.zeros(96, device=x.device), torch.zeros(96, device=x.device)
    assert_rounded(norm_modulate(x, shift, scale, EPS), norm_modulate_ref(x.double(), shift, scale, EPS))


def test_nothing_in_nothing_out(draw):
    x = draw(1, 0, 96)
    assert gate_residual_norm(x, x, None, draw(96), draw(96), EPS)[1].shape == (1, 0, 96)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, v: (x.double(), v, v), "expected x of float16 or bfloat16 or float32, got float64"),
        (lambda x, v: (x[0], v, v), r"expected x \[B, N, C\], got \[5, 96\]"),
        (lambda x, v: (x, v[:95], v), r"expected shift \[C = 96\], got \[95\]"),
        (lambda x, v: (x.transpose(1, 2), v[:5], v[:5]), "stride 1 along axis C, got strides .*contiguous"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, change, said):
    with pytest.raises(ValueError, match=said):
        norm_modulate(*change(draw(2, 5, 96), draw(96)), EPS)


def test_ops_are_complete_for_compile_and_export(draw):
    x, (gate, shift, scale) = draw(2, 5, 96), vectors(draw, 96, 3)
    inverse = torch.tensor([2.0], device=x.device)
    checks = ("test_schema", "test_faketensor")
    for extra in (None, inverse):
        torch.library.opcheck(norm_modulate, (x, shift, scale, EPS, extra), test_utils=checks)
        torch.library.opcheck(gate_residual_norm, (x, x, gate, shift, scale, EPS, extra), test_utils=checks)
    torch.library.opcheck(gate_residual, (x, x, None), test_utils=checks)
    exported = torch.export.export(Branch(), (x, gate))
    torch.testing.assert_close(exported.module()(x, gate), gate_residual(x, x, gate))


class Branch(torch.nn.Module):
    def forward(self, x, gate):
        return gate_residual(x, x, gate)
