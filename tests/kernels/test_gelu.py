"""tanh-GELU and E4M3 against their formulas in float64, and against torch's own GELU where numbers are no numbers."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from torch.nn.functional import gelu as torch_gelu  # noqa: E402

from clear_rt.kernels.gelu import gelu, gelu_, gelu_ref, quantized, quantized_ref  # noqa: E402
from clear_rt.models.fp8 import E4M3, to_e4m3  # noqa: E402

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# One number, rows that fill no block and no multiple of 16, several blocks and a bit.
SHAPES = ((1,), (2, 7, 5), (3, 1536), (1, 5, 1000), (2049,))
HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
# Half of the smallest step: of float32 and bfloat16 what a GPU may flush to 0, times 16 for what it is divided by.
HALF_STEP = {torch.float32: 2.0**-122, torch.float16: 2.0**-25, torch.bfloat16: 2.0**-122}


def exactly(x):
    """By exp: 1 + tanh, as torch has it, loses what is left of a negative number, in float64 too."""
    wide = x.double()
    return wide * torch.sigmoid(2 * (2 / torch.pi) ** 0.5 * (wide + 0.044715 * wide**3))


def relative_tolerance(x):
    """Of the fp32 arithmetic: the argument of exp, and with it the log of the result, has 5 roundings of its size."""
    argument = 1.6 * x.double().abs() * (1 + 0.0448 * x.double() ** 2)
    return 2.0**-24 * (8 + 5 * argument.clamp(max=100))


def assert_rounded(found, x):
    exact = exactly(x)
    tolerance = (HALF_ULP[found.dtype] + relative_tolerance(x)) * exact.abs() + HALF_STEP[found.dtype]
    assert ((found.double() - exact).abs() <= tolerance).all()


def assert_e4m3(found, exact, relative):
    """Half a unit of 3 bits of significand and half of the smallest step, or the largest number."""
    assert found.dtype == E4M3
    tolerance = (2.0**-4 + 2 * relative) * exact.abs() + 2.0**-10
    assert ((found.double() - exact.clamp(-448, 448)).abs() <= tolerance).all()


def inverse(device, value):
    return torch.tensor([value], device=device)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gelu_is_its_formula(draw, shape, dtype):
    x = draw(*shape, dtype=dtype, scale=3.0)
    found = gelu(x)
    assert (found.dtype, found.shape) == (dtype, x.shape)
    assert_rounded(found, x)
    # Of 1 + tanh no more is right than 2**-24 of 1, in fp32, and its rounding.
    assert ((gelu_ref(x).double() - exactly(x)).abs() <= HALF_ULP[dtype] * exactly(x).abs() + 2.0**-22 * x.abs()).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_in_place_it_is_the_same_to_the_bit(draw, shape, dtype):
    x = draw(*shape, dtype=dtype, scale=3.0)
    expected = gelu(x)
    gelu_(x)
    assert torch.equal(x, expected)


def test_the_formula_is_that_of_torch():
    x = torch.linspace(-8, 8, 4097, dtype=torch.float64)
    assert (exactly(x) - torch_gelu(x, approximate="tanh")).abs().max() < 1e-15


def test_the_whole_range_of_bfloat16_has_no_hole(device):
    """Every number of it: far out GELU is x or 0, at infinity and NaN what torch says."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32, device=device).to(torch.int16).view(torch.bfloat16)
    found, finite = gelu(x), x.isfinite()
    assert_rounded(found[finite], x[finite])
    said = torch_gelu(x[~finite].float(), approximate="tanh").bfloat16()
    torch.testing.assert_close(found[~finite], said, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_fp8_is_the_rounded_product(draw, device, shape, dtype):
    x = draw(*shape, dtype=dtype, scale=3.0)
    factor = inverse(device, 150.0)  # some values go beyond 448
    found = gelu(x, factor)
    assert_e4m3(found, 150 * exactly(x), relative_tolerance(x))
    if x.numel() > 1000:
        assert found.float().amax() == 448
    assert_e4m3(quantized(x, factor), 150 * x.double(), 2.0**-24)


def test_quantized_is_the_definition_to_the_bit(draw, device):
    """One product in fp32, one rounding: nothing that two ways could do differently."""
    x, factor = draw(3, 1000, dtype=torch.bfloat16, scale=20.0), inverse(device, 1 / 0.171875)
    assert torch.equal(quantized(x, factor).view(torch.uint8), quantized_ref(x, factor).view(torch.uint8))


def test_fp8_rounds_once(device):
    """GELU of 8.5 is 8.5; times 2 it is halfway between 16 and 18, and so would bfloat16 have what lies beside it."""
    x, factor = torch.tensor([8.5 * (1 - 2.0**-12), 8.5 * (1 + 2.0**-12)], device=device), inverse(device, 2.0)
    assert gelu(x, factor).float().tolist() == [16, 18]


def test_what_is_no_number_in_e4m3(device):
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30, -1e30, 0.0, -0.0], device=device)
    factor = inverse(device, 1.0)
    expected = to_e4m3(x).float()
    torch.testing.assert_close(quantized(x, factor).float(), expected, rtol=0, atol=0, equal_nan=True)
    activated = to_e4m3(torch_gelu(x, approximate="tanh")).float()
    torch.testing.assert_close(gelu(x, factor).float(), activated, rtol=0, atol=0, equal_nan=True)


def test_nothing_in_nothing_out(draw, device):
    assert gelu(draw(0, 96)).shape == (0, 96)
    assert quantized(draw(2, 0), inverse(device, 1.0)).dtype == E4M3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: (x.double(), None), "gelu: expected x of float16 or bfloat16 or float32, got float64"),
        (lambda x: (x.T, None), r"got strides \(1, 8\); call .contiguous\(\) on it"),
        (lambda x: (x[:, :4], None), "expected x with stride 4 along axis axis0"),
        (lambda x: (x, torch.ones(2, device=x.device)), r"expected inverse \[1\], got \[2\]"),
        (lambda x: (x, torch.ones(1, device=x.device).half()), "expected inverse of float32, got float16"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, change, said):
    with pytest.raises(ValueError, match=said):
        gelu(*change(draw(5, 8)))


def test_ops_are_complete_for_compile_and_export(draw, device):
    x, factor = draw(2, 5, 96), inverse(device, 2.0)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(gelu, (x, None), test_utils=checks)
    torch.library.opcheck(gelu, (x, factor), test_utils=checks)
    torch.library.opcheck(quantized, (x, factor), test_utils=checks)
    torch.library.opcheck(gelu_, (x.clone(),), test_utils=checks)
    exported = torch.export.export(Activation(), (x,))
    assert torch.equal(exported.module()(x), gelu(x))


class Activation(torch.nn.Module):
    def forward(self, x):
        return gelu(x)


@pytest.mark.gpu
@pytest.mark.parametrize("tokens", [20_160, 75_600])
def test_the_hidden_numbers_of_wan_at_their_real_size(device, tokens):
    """677 M numbers of the largest window, of which 16 tokens at either end are compared."""
    torch.manual_seed(0)
    x = torch.randn(1, tokens, 8960, device=device, dtype=torch.bfloat16)
    factor = inverse(device, 150.0)
    plain, activated, rounded = gelu(x), gelu(x, factor), quantized(x, factor)
    for part in (slice(0, 16), slice(tokens - 16, tokens)):
        some = x[:, part]
        assert_rounded(plain[:, part], some)
        assert_e4m3(activated[:, part], 150 * exactly(some), relative_tolerance(some))
        assert_e4m3(rounded[:, part], 150 * some.double(), 2.0**-24)


@pytest.mark.gpu
def test_offsets_beyond_an_int32_are_reached(device):
    """4.4 GB of bfloat16, 2**31 and a bit of them: the last ones and those around the edge."""
    count = 2**31 + 4096 + 16
    x = torch.zeros(count, device=device, dtype=torch.bfloat16)
    places = torch.tensor([0, 2**31 - 1, 2**31, 2**31 + 4096, count - 1], device=device)
    x[places] = 1
    found = gelu(x)
    assert_rounded(found[places], x[places])
    assert found.count_nonzero() == len(places)
