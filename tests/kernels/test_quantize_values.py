"""Values in E4M3, transposed, against their definition in float64."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.quantize_values import quantize_values, quantize_values_ref  # noqa: E402

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Batches, keys, heads, head width: one key, a block and one more or less, Wan's heads, clear-tiny's.
SHAPES = ((1, 1, 1, 64), (2, 127, 3, 64), (1, 128, 12, 128), (1, 129, 2, 128), (2, 300, 1, 64))


def blocks_of(v):
    """v [B, N, H, D] in float64 -> [B, H, D, blocks, 128], zeros behind the last key."""
    padded = torch.nn.functional.pad(v.double(), (0, 0, 0, 0, 0, -v.shape[1] % 128))
    return padded.permute(0, 2, 3, 1).unflatten(-1, (-1, 128))


def assert_quantized(found, scale, v):
    blocks = blocks_of(v)
    largest = blocks.abs().amax((2, 4))
    assert found.dtype == torch.float8_e4m3fn
    assert found.shape == (*blocks.shape[:3], 128 * blocks.shape[3])
    # A division in fp32 is off by half a unit, 2**-24.
    assert ((scale.double() - largest / 448).abs() <= 2.0**-24 * largest / 448).all()
    # Half a unit of 3 bits of significand or half of the smallest step; before, two roundings to fp32.
    step = scale.double()[:, :, None, :, None]
    wrong = (found.double().unflatten(-1, (-1, 128)) * step - blocks).abs()
    assert (wrong <= (2.0**-4 + 2.0**-22) * blocks.abs() + 2.0**-10 * step).all()


@pytest.fixture
def memory_is_nan():
    """What an op leaves unwritten shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3, dtype=torch.float8_e4m3fn).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("memory_is_nan")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_rounded_once_with_the_scale_of_their_block(draw, shape, dtype):
    # Heads and keys of different sizes: a scale of the wrong block would show.
    v = (draw(*shape) * draw(1, shape[1], shape[2], 1).exp()).to(dtype)
    found, scale = quantize_values(v)
    assert_quantized(found, scale, v)
    # Not bit by bit: x * (1 / scale) and x / scale may fall to different sides of the verge of two E4M3 values.
    expected, expected_scale = quantize_values_ref(v)
    assert_quantized(expected, expected_scale, v)
    assert torch.equal(scale, expected_scale)


def test_columns_behind_the_last_key_are_zero(draw):
    found, _ = quantize_values(draw(2, 129, 3, 64) + 5)
    assert found.shape == (2, 3, 64, 256)
    assert not found[..., 129:].view(torch.uint8).any()


def test_a_block_of_zeros_has_the_scale_1_and_a_tiny_one_stays_finite(draw):
    v = draw(1, 300, 1, 64)
    v[:, :128], v[:, 128:256] = 0, 1e-42
    found, scale = quantize_values(v)
    assert scale[0, 0, :2].tolist() == [1, 1]
    assert not found[..., :256].float().any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_strides_are_followed_and_what_lies_between_is_not_read(draw, dtype):
    """As the values in a fused product of queries, keys and values."""
    fused = torch.full((2, 140, 3, 2 * 64 + 8), torch.nan, dtype=dtype, device=draw(1).device)
    fused[:, 3:133, :, 64:128] = draw(2, 130, 3, 64, dtype=dtype)
    view = fused[:, 3:133, :, 64:128]
    for found, expected in zip(quantize_values(view), quantize_values(view.contiguous()), strict=True):
        assert torch.equal(found.view(torch.uint8), expected.view(torch.uint8))


def test_a_nan_stays_in_its_key(draw):
    v = draw(1, 130, 1, 64)
    v[0, 129, 0, 5] = torch.nan
    found, scale = quantize_values(v)
    assert scale.isfinite().all()
    assert found.isnan().nonzero().tolist() == [[0, 0, 5, 129]]


def test_nothing_in_nothing_out(draw):
    found, scale = quantize_values(draw(1, 0, 3, 64))
    assert (found.shape, scale.shape) == ((1, 3, 64, 0), (1, 3, 0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.double(), "expected v of float16 or bfloat16 or float32, got float64"),
        (lambda v: v[0], r"expected v \[B, N, H, D\], got \[5, 3, 64\]"),
        (lambda v: v[..., :32], "heads of 64 or 128 channels, got 32"),
        (lambda v: v.transpose(1, 3), "stride 1 along axis D, got strides .*contiguous"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, change, said):
    with pytest.raises(ValueError, match=said):
        quantize_values(change(draw(2, 5, 3, 64)))


def test_the_op_is_complete_for_compile_and_export(draw):
    v = draw(2, 5, 3, 64)
    torch.library.opcheck(quantize_values, (v,), test_utils=("test_schema", "test_faketensor"))
    exported = torch.export.export(Values(), (v,)).module()
    for found, expected in zip(exported(v), quantize_values(v), strict=True):
        assert torch.equal(found.view(torch.uint8), expected.view(torch.uint8))


class Values(torch.nn.Module):
    def forward(self, v):
        return quantize_values(v)


@pytest.mark.gpu
def test_real_size(draw):
    """75,600 tokens in a fused product of queries, keys and values of Wan."""
    fused = draw(1, 75_600, 3 * 1536, dtype=torch.bfloat16)
    v = fused[..., 3072:].unflatten(-1, (12, 128))
    assert_quantized(*quantize_values(v), v)


@pytest.mark.parametrize("poison", [torch.inf, -torch.inf, torch.nan])
def test_what_is_not_finite_is_nan_in_its_block_and_never_448(draw, poison):
    v = draw(1, 300, 2, 64)
    v[0, 130, 1, 5] = poison
    for found, scale in (quantize_values(v), quantize_values_ref(v)):
        of_keys = found.float() * scale.repeat_interleave(128, -1).unsqueeze(2)
        assert of_keys[0, 1, 5, 130].isnan()
        assert of_keys[0, 0].isfinite().all()
        assert of_keys[0, 1, :, :128].isfinite().all()
        assert of_keys[0, 1, :, 256:].isfinite().all()
        if poison == poison:
            assert of_keys[0, 1, :, 128:256].isnan().all()
