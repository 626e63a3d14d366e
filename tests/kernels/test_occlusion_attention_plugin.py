"""Attention by the arguments of a TensorRT plugin against its formula in float64; tensors are dense."""

from inspect import signature

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels import occlusion_attention as pointers  # noqa: E402
from clear_rt.kernels import occlusion_attention_plugin as plugin  # noqa: E402
from clear_rt.kernels.attention_blocks import HEAD_WIDTHS  # noqa: E402
from clear_rt.kernels.chips import CAPABILITIES, capability_of  # noqa: E402
from clear_rt.kernels.occlusion_attention import DTYPES  # noqa: E402
from tests.kernels.test_occlusion_attention import AROUND, NONE, among_nans, exactly  # noqa: E402

# numpy, in the interpreter, remarks on what a GPU does in silence: -inf where fp32 ends.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")

SIZES = (1, 15, 64, 65, 130)


@pytest.fixture
def dense(draw):
    """q [B, N, H, D], k and v [B, M, H, D] and biases [B, H, M], each between NaNs."""

    def drawn(batches, queries, keys, heads, width, dtype=DTYPES[-1]):
        shapes = [(batches, tokens, heads, width) for tokens in (queries, keys, keys)]
        tensors = [draw(*shape, dtype=dtype) for shape in shapes] + [draw(batches, heads, keys, scale=3.0)]
        return [among_nans(tensor.shape, tensor)[1].copy_(tensor) for tensor in tensors]

    return drawn


def attend(q, k, v, bias):
    """The result begins as NaN, between NaNs that must stay."""
    memory, out = among_nans(q.shape, q)
    plugin.launch(q, k, v, bias, out, capability_of(q))
    assert memory[:AROUND].isnan().all()
    assert memory[-AROUND:].isnan().all()
    return out


def assert_exact(q, k, v, bias):
    exact = exactly(q, k, v, bias)
    assert ((attend(q, k, v, bias).double() - exact.out).abs() <= exact.out_error).all()


@pytest.mark.parametrize("width", HEAD_WIDTHS)
def test_numbers_of_queries_and_keys(dense, width):
    """Every number with itself and a distant one."""
    for shift in (0, 2):
        for place, queries in enumerate(SIZES):
            assert_exact(*dense(1, queries, SIZES[(place + shift) % 5], 1, width))


def test_numbers_of_heads(dense):
    for heads in range(1, 13):
        assert_exact(*dense(1, 3, 20, heads, 64))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_is_that_of_the_kernel_with_strides(dense, dtype):
    """Two batches and heads of 131 queries and 150 keys: with a stride that is off something else is read."""
    q, k, v, bias = dense(2, 131, 150, 2, 64, dtype)
    expected = torch.empty_like(q)
    pointers.launch(q, k, v, bias, expected, None, capability_of(q))
    assert torch.equal(attend(q, k, v, bias), expected)


def test_hidden_keys_are_not_there_and_queries_without_keys_get_zero(dense):
    q, k, v, bias = dense(1, 5, 150, 2, 64)
    bias[:, 0, 10:140] = NONE
    bias[:, 1] = NONE
    left = (bias[0, 0] > NONE).nonzero()[:, 0]
    found, exact = attend(q, k, v, bias), exactly(q, k[:, left], v[:, left], bias[..., left])
    assert ((found[:, :, 0].double() - exact.out[:, :, 0]).abs() <= exact.out_error[:, :, 0]).all()
    assert (found[:, :, 1] == 0).all()


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_arguments_are_those_that_a_plugin_passes(capability):
    """Inputs, int32, output: nothing behind, nothing between, and no promise on where a bias begins."""
    found = list(plugin.variants(capability))
    assert len({variant.name for variant in found}) == len(found) == 4
    for variant in found:
        half = variant.arguments["q_ptr"]
        assert half in ("*fp16", "*bf16")
        assert [*variant.arguments.values()] == [half, half, half, "*fp32", "i32", "i32", half]
        assert [*signature(variant.kernel.fn).parameters] == [*variant.arguments, *variant.constants]
        assert variant.unaligned == ("bias_ptr",)
