"""FP8 linears by a GPU's FP8 units are those of the definition; elsewhere they are the definition itself."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.gelu import quantized  # noqa: E402
from clear_rt.kernels.scaled_product import ScaledProduct, inverse_of, ones  # noqa: E402
from clear_rt.models.fp8 import E4M3, Fp8Linear, fp8_product, scale_of, to_e4m3  # noqa: E402

BF16_ROUNDING = 2.0**-8


def fp8_linear(inputs, outputs, device, dtype, amax, *, bias=True):
    """Weights of a row have the size of its number, so that a scale at the wrong place shows."""
    random = torch.Generator().manual_seed(0)
    source = torch.nn.Linear(inputs, outputs, bias).requires_grad_(False)
    source.weight.copy_(torch.randn(outputs, inputs, generator=random) * (1 + torch.arange(outputs)[:, None] % 7))
    if bias:
        source.bias.copy_(3 * inputs**0.5 * torch.randn(outputs, generator=random))
    made = Fp8Linear.of(source, scale_of(torch.tensor(amax))).to(device, dtype)
    made.product = ScaledProduct()
    return made


def exactly(linear, x):
    """Of what is stored, in float64; x as E4M3 or to be quantised."""
    held = x if x.dtype == E4M3 else to_e4m3(x.float() / linear.input_scale)
    weight = linear.weight.double() * linear.weight_scale.double()[:, None]
    made = (held.double() * linear.input_scale.double()) @ weight.T
    return made if linear.bias is None else made + linear.bias.double()


def relative(found, exact):
    return float((found.double() - exact).norm() / exact.norm())


def tolerance(inputs):
    """Each 32 products are added to a sum of which the FP8 units of sm_90 keep 13 bits behind the point, cut off.

    Beside the result's rounding, and the quantiser's, whose factor is 1 / scale: that moves few numbers by a step.
    """
    return BF16_ROUNDING + 2.0**-13 * inputs / 32 + 2e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("inputs", "outputs"), [(37, 19), (48, 32)])
def test_on_the_cpu_it_is_the_definition(dtype, inputs, outputs):
    linear = fp8_linear(inputs, outputs, "cpu", dtype, 4.0)
    x = torch.randn(2, 5, inputs).to(dtype)
    expected = fp8_product(x, linear.weight, linear.weight_scale, linear.input_scale, linear.bias)
    assert torch.equal(linear(x), expected)
    quantised = to_e4m3(x.float() / linear.input_scale)
    found = linear(quantised)
    assert found.dtype == dtype
    assert relative(found, exactly(linear, quantised)) < 2 * BF16_ROUNDING


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_operands_and_scales_lie_as_torch_s_product_takes_them(monkeypatch, dtype, bias):
    """torch has the same product on the CPU, slow: all but the GPU's own arithmetic is tried there."""
    monkeypatch.setattr("clear_rt.kernels.scaled_product._suits", lambda x, weight: not x.is_cuda)
    linear = fp8_linear(48, 32, "cpu", dtype, 4.0, bias=bias)
    x = torch.randn(2, 19, 48, generator=torch.Generator().manual_seed(0)).to(dtype)
    if torch.cuda.is_available():
        x = to_e4m3(x.float() / linear.input_scale) if bias else pytest.skip("kernels are for the GPU here")
    found = linear(x)
    assert (found.dtype, found.shape) == (dtype, (2, 19, 32))
    assert relative(found, exactly(linear, x)) < {torch.float32: 1e-5}.get(dtype, BF16_ROUNDING)


def test_inputs_in_e4m3_without_a_bias_are_refused():
    linear = fp8_linear(48, 32, "cpu", torch.float32, 4.0, bias=False)
    with pytest.raises(ValueError, match="expected an FP8 linear with a bias"):
        linear(torch.zeros(2, 48).to(E4M3))


def test_the_factor_is_one_over_the_scale():
    found = inverse_of(torch.tensor(0.171875))
    assert (found.shape, found.dtype) == ((1,), torch.float32)
    assert float(found) == pytest.approx(1 / 0.171875, rel=2.0**-23)


def test_ones_are_made_once(device):
    found = ones(77, device)
    assert found.tolist() == [[1.0]] * 77
    assert found.is_contiguous()
    assert ones(77, device) is found


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(1, 1, 48), (3, 37, 48), (2, 64, 1536)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_gpu_answers_as_the_definition(device, dtype, shape, bias):
    linear = fp8_linear(shape[-1], 80, device, dtype, 4.0, bias=bias)
    torch.manual_seed(0)
    x = torch.randn(shape, device=device).to(dtype)
    found = linear(x)
    assert (found.dtype, found.shape) == (dtype, (*shape[:-1], 80))
    assert relative(found, exactly(linear, x)) < tolerance(shape[-1])
    if bias:
        eight = quantized(x, inverse_of(linear.input_scale))
        assert torch.equal(linear(eight), found)


@pytest.mark.gpu
def test_sizes_that_the_units_do_not_take_are_by_the_definition(device):
    linear = fp8_linear(37, 19, device, torch.bfloat16, 4.0)
    x = torch.randn(2, 5, 37, device=device, dtype=torch.bfloat16)
    expected = fp8_product(x, linear.weight, linear.weight_scale, linear.input_scale, linear.bias)
    assert torch.equal(linear(x), expected)
    assert linear(x[:, :0]).shape == (2, 0, 19)


@pytest.mark.gpu
def test_scales_follow_the_weights(device):
    linear = fp8_linear(48, 32, device, torch.bfloat16, 4.0)
    x = torch.randn(9, 48, device=device, dtype=torch.bfloat16)
    linear(x)
    linear.weight_scale.mul_(2)
    assert relative(linear(x), exactly(linear, x)) < tolerance(48)
    linear.input_scale.mul_(2)
    assert relative(linear(x), exactly(linear, x)) < tolerance(48)


@pytest.mark.gpu
@pytest.mark.parametrize(("inputs", "outputs"), [(1536, 4608), (1536, 1536), (1536, 8960), (8960, 1536)])
def test_the_linears_of_wan_at_their_real_size_and_in_a_graph(device, inputs, outputs):
    linear = fp8_linear(inputs, outputs, device, torch.bfloat16, 6.0)
    torch.manual_seed(0)
    x = torch.randn(1, 20_160, inputs, device=device, dtype=torch.bfloat16)
    found = linear(x)
    some = torch.tensor([0, 1, 127, 128, 10_079, 20_158, 20_159], device=device)
    assert relative(found[:, some], exactly(linear, x[:, some])) < tolerance(inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = linear(x)
    x.neg_()
    expected = linear(x)
    graph.replay()
    assert torch.equal(captured, expected)
