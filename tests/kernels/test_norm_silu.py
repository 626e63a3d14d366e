"""Norm and SiLU behind the past frames, against the VAE's own layers in float64, step by step."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from clear_rt.kernels.norm_silu import norm_silu, norm_silu_ref  # noqa: E402
from clear_rt.models.vae_blocks import CausalConv3d, Layers, RmsNorm  # noqa: E402
from clear_rt.models.vae_cache import History  # noqa: E402

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
# Batch, channels, frames, height, width: one number, one position, widths of clear-tiny, Wan's. Blocks of 256 positions
# of 8 channels and of 16 of 96 are not filled, or filled and begun once more.
SHAPES = ((1, 1, 1, 1, 1), (1, 8, 1, 1, 3), (2, 12, 3, 5, 7), (1, 8, 2, 15, 19), (2, 96, 1, 3, 11), (1, 384, 2, 1, 5))


def last(tensor):
    return tensor.to(memory_format=torch.channels_last_3d)


def unwritten(x):
    """A buffer for x behind two frames, all NaN."""
    batches, channels, frames, height, width = x.shape
    return last(x.new_full((batches, channels, 2 + frames, height, width), torch.nan))


def drawn(draw, shape, dtype=torch.float32):
    """Numbers that are far from 0 in some places and near it in others, and gains."""
    x = draw(*shape) * torch.exp(2 * draw(shape[0], 1, *shape[2:]))
    return last(x.to(dtype)), 1 + 0.5 * draw(shape[1])


def written(x, gamma, past=None):
    joined = unwritten(x)
    norm_silu(x, gamma, joined, past, None)
    return joined


def exact(x, gamma):
    """In float64, with what fp32 may add to one rounding of the result.

    The length of C numbers, its root, two products, exponential and quotient are some 16 roundings of 2**-24; the
    exponential multiplies those before it by |y|.
    """
    y = functional.normalize(x.double(), dim=1) * x.shape[1] ** 0.5 * gamma.double()[:, None, None, None]
    expected = functional.silu(y)
    return expected, (HALF_ULP[x.dtype] + 16 * 2.0**-24 * (1 + y.abs())) * expected.abs()


def assert_close(found, expected, tolerance):
    # Half of fp16's smallest number: where values are that small, they are rounded to its multiples.
    assert ((found.double() - expected).abs() <= tolerance + 2.0**-25 * (found.dtype == torch.float16)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_new_frames_are_the_formula_and_the_past_is_zeros_where_a_run_begins(draw, shape, dtype):
    x, gamma = drawn(draw, shape, dtype)
    joined = written(x, gamma)
    assert (joined[:, :, :2] == 0).all()
    assert_close(joined[:, :, 2:], *exact(x, gamma))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("frames", [2, 3, 6])
def test_the_past_is_the_end_of_the_buffer_before_bit_for_bit(draw, shape, dtype, frames):
    x, gamma = drawn(draw, shape, dtype)
    past, _ = drawn(draw, (*shape[:2], frames, *shape[3:]), dtype)
    kept = past[:, :, -2:].clone()
    past[:, :, :-2] = torch.nan
    joined = written(x, gamma, past)
    assert torch.equal(joined[:, :, :2], kept)
    assert torch.equal(joined[:, :, 2:], written(x, gamma)[:, :, 2:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (1, 4, 4, 4), (1, 2, 2), (5,), (4, 1, 3)], ids=str)
def test_a_stream_gives_each_convolution_what_the_layers_give_it(draw, randomise, counts, dtype):
    """One buffer per number of frames, as an engine with static buffers has: each step's past is the last one used."""
    layers = Layers(RmsNorm(12, axes=3), nn.SiLU(), CausalConv3d(12, 5))
    gamma = randomise(layers).to(draw(1).device)[0].gamma.detach().flatten().clone()
    layers.double()
    seen = []
    layers[2].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    buffers, past, caches, run = {}, None, None, []
    for count in counts:
        x, _ = drawn(draw, (2, 12, count, 5, 7), dtype)
        history = History(caches, 1)
        with torch.no_grad():
            layers(x.double(), history)
        caches = history.kept
        joined = buffers.setdefault(count, unwritten(x))
        norm_silu(x, gamma, joined, past, None)
        past = joined
        run.append(x)
        _, tolerance = exact(torch.cat(run, 2), gamma)
        tolerance = functional.pad(tolerance, (0, 0, 0, 0, 2, 0))[:, :, -2 - count :]
        assert_close(joined, seen[-1], tolerance)
    assert len(seen) == len(counts)


@pytest.mark.parametrize("dtype", [torch.float64, *DTYPES])
def test_the_reference_is_the_formula(draw, dtype):
    x, gamma = drawn(draw, (2, 12, 3, 5, 7), dtype)
    past, _ = drawn(draw, (2, 12, 4, 5, 7), dtype)
    if dtype == torch.float64:
        expected = exact(x.float(), gamma)[0]
        # The same roundings as in `exact`, each of 2**-53; no value is beyond sqrt(C) times its gain.
        tolerance = 16 * 2.0**-53 * (1 + x.shape[1] ** 0.5 * gamma.abs().max()) * expected.abs()
    else:
        expected, tolerance = exact(x, gamma)
    joined = norm_silu_ref(x, gamma, past)
    assert joined.dtype == dtype
    assert torch.equal(joined[:, :, :2], past[:, :, -2:])
    assert torch.equal(norm_silu_ref(x, gamma)[:, :, :2], torch.zeros_like(past[:, :, :2]))
    assert_close(joined[:, :, 2:], expected, tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_beside_the_tensors_is_read_or_written(draw, dtype):
    """Frames of longer runs without gaps, all else NaN: what is read shows in the result, what is written around it."""
    x, gamma = drawn(draw, (1, 12, 2, 5, 7), dtype)
    expected = written(x, gamma, x)
    long = last(x.new_full((1, 12, 12, 5, 7), torch.nan))
    long[:, :, 1:3] = x
    gammas = torch.full((32,), torch.nan, device=x.device)
    gammas[3:15] = gamma
    norm_silu(long[:, :, 1:3], gammas[3:15], long[:, :, 6:10], long[:, :, 1:3], None)
    assert torch.equal(long[:, :, 6:10], expected)
    long[:, :, 1:3] = long[:, :, 6:10] = torch.nan
    assert long.isnan().all()
    assert gammas[[*range(3), *range(15, 32)]].isnan().all()


def test_a_nan_stays_in_its_place(draw):
    x, gamma = drawn(draw, (1, 8, 2, 3, 5))
    clean = written(x, gamma)
    x[0, 5, 1, 2, 3] = torch.nan
    found = written(x, gamma)
    assert found[0, :, 3, 2, 3].isnan().all()
    found[0, :, 3, 2, 3] = clean[0, :, 3, 2, 3]
    assert torch.equal(found, clean)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1e-13, 1e-7, 1e4])
def test_black_pictures_and_loud_ones(draw, dtype, size):
    """The length is bounded at 1e-12, so that nothing stays nothing; 1e4 squared is beyond fp16."""
    x = last((draw(1, 12, 1, 3, 5) * size).to(dtype))
    gamma = torch.ones(12, device=x.device)
    assert_close(written(x, gamma)[:, :, 2:], *exact(x, gamma))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gains_may_be_of_any_float(draw, dtype):
    x, gamma = drawn(draw, (1, 12, 1, 3, 5))
    assert torch.equal(written(x, gamma.to(dtype)), written(x, gamma.to(dtype).float()))


def shaped(*shape):
    return last(torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": shaped(1, 8, 2, 3, 5)[0]}, r"expected x \[B, C, T, H, W\], got \[8, 2, 3, 5\]"),
        ({"x": shaped(1, 8, 2, 3, 5).double()}, "expected x of float16 or bfloat16 or float32, got float64"),
        ({"x": shaped(1, 8, 0, 3, 5)}, r"expected x that is not empty, got \[1, 8, 0, 3, 5\]"),
        (
            {"x": torch.zeros(1, 8, 2, 3, 5)},
            r"expected x \[1, 8, 2, 3, 5\] with channels last .*, got strides \(240, 30, 15, 5, 1\); "
            r"call \.to\(memory_format=torch\.channels_last_3d\)",
        ),
        ({"x": shaped(1, 8, 2, 3, 10)[..., :5]}, r"expected x .*, got strides \(480, 1, 240, 80, 8\)"),
        ({"gamma": torch.ones(9)}, r"expected gamma \[C = 8\], got \[9\]"),
        (
            {"joined": shaped(1, 8, 3, 3, 5)},
            r"expected joined \[B = 1, C = 8, 4, H = 3, W = 5\], got \[1, 8, 3, 3, 5\]",
        ),
        ({"joined": shaped(1, 8, 4, 3, 5).half()}, "expected joined of float32, got float16"),
        ({"joined": torch.zeros(1, 8, 4, 3, 5)}, "expected joined .* with channels last"),
        ({"past": shaped(1, 8, 1, 3, 5)}, "expected past of 2 frames or more, got 1"),
        (
            {"past": shaped(1, 8, 3, 3, 4)},
            r"expected past \[B = 1, C = 8, P, H = 3, W = 5\], got \[1, 8, 3, 3, 4\]",
        ),
        ({"past": torch.zeros(1, 8, 3, 3, 5)}, "expected past .* with channels last"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(device, change, said):
    given = {
        "x": shaped(1, 8, 2, 3, 5),
        "gamma": torch.ones(8),
        "joined": shaped(1, 8, 4, 3, 5),
        "past": None,
        "kept": None,
    }
    placed = {name: tensor if tensor is None else tensor.to(device) for name, tensor in (given | change).items()}
    with pytest.raises(ValueError, match=said):
        norm_silu(**placed)


def bordered(joined):
    """Memory for the same frames with a border, all NaN but for the border's zeros."""
    batches, channels, frames, height, width = joined.shape
    larger = last(joined.new_zeros(batches, channels, frames, height + 2, width + 2))
    larger[..., 1:-1, 1:-1] = torch.nan
    return larger


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("counts", [(1, 4, 4), (1, 1, 1), (3, 1, 2)], ids=str)
def test_layers_may_share_a_buffer_with_a_border_where_the_past_is_kept(draw, counts, dtype):
    """What is kept is the end of what was joined; other frames were in the buffer in between."""
    shape = (2, 12, 4, 5, 7)
    kept = last(torch.full((2, 12, 2, 5, 7), torch.nan, dtype=dtype, device=draw(1).device))
    past = None
    for count in counts:
        x, gamma = drawn(draw, (*shape[:2], count, *shape[3:]), dtype)
        expected = unwritten(x)
        norm_silu(x, gamma, expected, past, None)
        joined = bordered(expected)
        norm_silu(x, gamma, joined, None if past is None else kept, kept)
        assert torch.equal(joined[..., 1:-1, 1:-1], expected)
        joined[..., 1:-1, 1:-1] = 0
        assert not joined.any()
        assert torch.equal(kept, expected[:, :, -2:])
        past = expected


def test_the_op_is_complete_for_compile_and_export(draw):
    x, gamma = drawn(draw, (2, 12, 1, 5, 7))
    checks = ("test_schema", "test_faketensor")
    for past in (None, last(draw(2, 12, 3, 5, 7))):
        torch.library.opcheck(norm_silu, (x, gamma, unwritten(x), past, None), test_utils=checks)
    exported = torch.export.export(Step(), (x, gamma, written(x, gamma)))
    found, expected = written(x, gamma), written(x, gamma)
    norm_silu(x, gamma, expected, expected, None)
    assert torch.equal(exported.module()(x, gamma, found), expected * 2)
    assert torch.equal(found, expected)


class Step(nn.Module):
    """A step of a stream whose buffer is its own past."""

    def forward(self, x, gamma, joined):
        norm_silu(x, gamma, joined, joined, None)
        return joined * 2


@pytest.mark.gpu
@pytest.mark.parametrize(("channels", "frames", "height", "width"), [(96, 4, 192, 1280), (384, 1, 24, 160)])
def test_a_stream_of_real_size_keeps_its_past(draw, channels, frames, height, width):
    x, gamma = drawn(draw, (1, channels, frames, height, width), torch.bfloat16)
    kept = last(x.new_full((1, channels, 2, height, width), torch.nan))
    past = None
    for _ in range(2):
        expected = unwritten(x)
        norm_silu(x, gamma, expected, past, None)
        joined = bordered(expected)
        norm_silu(x, gamma, joined, None if past is None else kept, kept)
        assert torch.equal(joined[..., 1:-1, 1:-1], expected)
        assert torch.equal(kept, expected[:, :, -2:])
        past = expected


@pytest.mark.gpu
@pytest.mark.parametrize(("channels", "frames", "height", "width"), [(96, 4, 720, 1280), (384, 1, 90, 160)])
def test_sizes_of_720p_in_place(draw, channels, frames, height, width):
    """Races between threads would show in what is moved within the buffer."""
    x, gamma = drawn(draw, (1, channels, frames, height, width), torch.bfloat16)
    joined = written(x, gamma)
    kept = joined[:, :, -2:].clone()
    norm_silu(x, gamma, joined, joined, None)
    assert torch.equal(joined[:, :, :2], kept)
    rows = torch.randint(height, (16,), generator=torch.Generator().manual_seed(1)).to(x.device)
    assert_close(joined[:, :, 2:, rows], *exact(x[:, :, :, rows], gamma))
