"""Convolution by taps on buffers with a border, against torch's in float64: every kind of tap, odd sizes, strides."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from torch.nn import functional  # noqa: E402

from clear_rt.kernels.causal_conv import CUBE, Taps, causal_conv, causal_conv_ref  # noqa: E402

DTYPES = (torch.float16, torch.bfloat16)
HALF_ULP = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
# Frames, height, width, channels, outputs: one position, blocks that are not filled, all channels' kinds of block.
SHAPES = ((1, 1, 1, 32, 3), (2, 5, 7, 32, 16), (1, 13, 21, 96, 96), (1, 3, 4, 192, 192), (1, 2, 3, 64, 384))


def bordered(x):
    """[F, H, W, C] with a border of zeros."""
    return functional.pad(x, (0, 0, 1, 1, 1, 1))


def drawn(draw, shape, taps=CUBE, dtype=torch.float16):
    """x with its past and border, weight, bias, residual."""
    frames, height, width, channels, outputs = shape
    count = taps.stride * (frames - 1) + taps.frames
    x = bordered(draw(count, height, width, channels).to(dtype))
    weight = (draw(taps.weights, outputs, channels) / (taps.weights * channels) ** 0.5).to(dtype)
    return x, weight, draw(outputs), draw(frames, height, width, outputs).to(dtype)


def computed(x, weight, bias, residual, taps, shape):
    frames, height, width, _, outputs = shape
    out = x.new_full((frames, height, width, outputs), torch.nan)
    causal_conv(x, weight, bias, out, residual, taps)
    return out


def assert_exact(out, expected, products):
    """One rounding of the result, and of a sum of so many products of numbers near 1 in fp32."""
    tolerance = HALF_ULP[out.dtype] * expected.abs() + products * 2.0**-24 * 8 + 2.0**-25
    assert ((out.double() - expected).abs() <= tolerance).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torch_s_convolution_over_three_frames(draw, dtype, shape):
    x, weight, bias, residual = drawn(draw, shape, dtype=dtype)
    channels, outputs = shape[3:]
    kernel = weight.double().reshape(3, 3, 3, outputs, channels).permute(3, 4, 0, 1, 2)
    expected = functional.conv3d(x.double().permute(3, 0, 1, 2)[None], kernel, bias.double())[0].permute(1, 2, 3, 0)
    assert_exact(computed(x, weight, bias, None, CUBE, shape), expected, 27 * channels)
    assert_exact(computed(x, weight, bias, residual, CUBE, shape), expected + residual.double(), 27 * channels)


@pytest.mark.parametrize(
    "taps",
    [
        Taps(1, 3, 3),
        Taps(3, 1, 1, 1, 1),
        Taps(3, 1, 1, 1, 1, stride=2),
        *(Taps(1, 2, 2, top, left) for top in (0, 1) for left in (0, 1)),
    ],
)
def test_other_taps_are_their_reference(draw, taps):
    shape = (3, 5, 6, 32, 20)
    x, weight, bias, residual = drawn(draw, shape, taps)
    out = computed(x, weight, bias, residual, taps, shape)
    expected = torch.empty_like(out, dtype=torch.float64)
    causal_conv_ref(x.double(), weight.double(), bias.double(), expected, residual.double(), taps)
    assert_exact(out, expected, taps.weights * 32)


def test_four_phases_are_a_convolution_of_the_doubled_picture(draw):
    x, weight, bias, _ = drawn(draw, (2, 4, 5, 32, 8), Taps(1, 3, 3))
    kernel = weight.float().reshape(3, 3, 8, 32).permute(2, 3, 0, 1)
    picture = x[:, 1:-1, 1:-1].float().permute(0, 3, 1, 2)
    doubled = functional.interpolate(picture, scale_factor=2.0, mode="nearest")
    expected = functional.conv2d(doubled.double(), kernel.double(), bias.double(), padding=1).permute(0, 2, 3, 1)
    out = torch.full(expected.shape, torch.nan, dtype=torch.float16)
    rows = ([[0], [1, 2]], [[0, 1], [2]])
    for top in (0, 1):
        for left in (0, 1):
            summed = torch.stack(
                [sum(kernel[:, :, r, c] for r in rs for c in cs) for rs in rows[top] for cs in rows[left]]
            )
            causal_conv(x, summed.half(), bias, out[:, top::2, left::2], None, Taps(1, 2, 2, top, left))
    # The weights were rounded once more.
    assert (out.double() - expected).norm() <= 2 * HALF_ULP[torch.float16] * expected.norm()


def test_the_border_of_a_larger_out_is_left_alone_and_nan_stays_where_it_is_seen(draw):
    shape = (2, 4, 5, 32, 16)
    x, weight, bias, _ = drawn(draw, shape)
    x[1, 2, 3, 7] = torch.nan
    framed = torch.zeros(2, 6, 7, 16, dtype=torch.float16)
    causal_conv(x, weight, bias, framed[:, 1:-1, 1:-1])
    assert framed.isnan().any(-1).nonzero().tolist() == [
        [frame, row, column] for frame in (0, 1) for row in (1, 2, 3) for column in (2, 3, 4)
    ]
    assert not framed[:, 0].any()
    assert not framed[:, :, -1].any()


def shaped(*sizes, dtype=torch.float16):
    return torch.zeros(sizes, dtype=dtype)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": shaped(3, 4, 5, 48), "weight": shaped(27, 8, 48)}, "expected x of a multiple of 32 channels, got 48"),
        ({"x": shaped(3, 4, 5, 32, dtype=torch.float32)}, "expected x of float16 or bfloat16, got float32"),
        ({"x": shaped(3, 3, 5, 32)}, r"expected x of \[3, 4, 5\] positions or more for this out, got \[3, 3, 5\]"),
        ({"x": shaped(2, 4, 5, 32)}, r"expected x of \[3, 4, 5\] positions or more for this out, got \[2, 4, 5\]"),
        ({"weight": shaped(9, 8, 32)}, r"expected weight \[27, N, C = 32\], got \[9, 8, 32\]"),
        ({"bias": shaped(9)}, r"expected bias \[N = 8\], got \[9\]"),
        ({"residual": shaped(1, 2, 3, 9)}, r"expected residual \[T = 1, H = 2, W = 3, N = 8\], got \[1, 2, 3, 9\]"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    given = {"x": shaped(3, 4, 5, 32), "weight": shaped(27, 8, 32), "bias": shaped(8), "out": shaped(1, 2, 3, 8)}
    with pytest.raises(ValueError, match=said):
        causal_conv(**(given | change))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("taps", "channels", "outputs"),
    [
        (Taps(3, 1, 1), 384, 384),
        (Taps(3, 1, 1, stride=2), 192, 192),
        *((Taps(1, 2, 2, top, left), 384, 192) for top in (0, 1) for left in (0, 1)),
    ],
)
def test_other_taps_of_real_size_into_every_other_place(draw, taps, channels, outputs):
    frames, height, width = 2, 48, 320
    shape = (frames, height, width, channels, outputs)
    x, weight, bias, _ = (tensor.cuda() for tensor in drawn(draw, shape, taps, torch.bfloat16))
    whole = x.new_zeros(frames, 2 * height, 2 * width, outputs)
    out = whole[:, taps.top :: 2, taps.left :: 2]
    out.fill_(torch.nan)
    causal_conv(x, weight, bias, out, None, taps)
    expected = torch.empty_like(out, dtype=torch.float64)
    causal_conv_ref(x.double(), weight.double(), bias.double(), expected, None, taps)
    assert_exact(out, expected, taps.weights * channels)
    out.zero_()
    assert not whole.any()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("frames", "height", "width", "channels", "outputs"),
    [
        (4, 192, 1280, 96, 96),
        (4, 96, 640, 192, 192),
        (2, 48, 320, 384, 384),
        (1, 24, 160, 384, 384),
        (4, 96, 640, 96, 3),
    ],
)
def test_real_sizes_on_a_gpu(draw, frames, height, width, channels, outputs):
    shape = (frames, height, width, channels, outputs)
    x, weight, bias, residual = (tensor.cuda() for tensor in drawn(draw, shape, dtype=torch.bfloat16))
    out = computed(x, weight, bias, residual, CUBE, shape)
    assert out.isfinite().all()
    some = slice(height // 2 - 3, height // 2 + 3)
    part = torch.empty_like(out[:, some], dtype=torch.float64)
    rows = x[:, some.start : some.stop + 2].double()
    causal_conv_ref(rows, weight.double(), bias.double(), part, residual[:, some].double())
    assert_exact(out[:, some], part, 27 * channels)
