"""What the slim runtime launches against the operations of torch that it stands for, both in Triton's interpreter.

Same kernels, same blocks: where grids and arguments are right, every bit is.
"""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.kernels import pull_push as torch_pull_push  # noqa: E402
from clear_rt.kernels import pull_push_level  # noqa: E402
from clear_rt.kernels.chips import INTERPRETED  # noqa: E402
from clear_rt.kernels.colour import input_matrix, output_matrix  # noqa: E402
from clear_rt.kernels.composite import composite  # noqa: E402
from clear_rt.kernels.hold_overlap import fade_overlap, hold_overlap  # noqa: E402
from clear_rt.kernels.occlusion_attention import occlusion_attention, occlusion_attention_ref  # noqa: E402
from clear_rt.kernels.window_step import window_step  # noqa: E402
from clear_rt.kernels.yuv_to_input import yuv_to_input  # noqa: E402
from clear_rt.runtime.slim import hold_overlap as slim_hold  # noqa: E402
from clear_rt.runtime.slim import pull_push as slim_pull_push  # noqa: E402
from clear_rt.runtime.slim import window_step as slim_step  # noqa: E402
from clear_rt.runtime.slim import yuv_to_input as slim_input  # noqa: E402
from clear_rt.runtime.slim.composite import Composite  # noqa: E402
from clear_rt.runtime.slim.occlusion_attention import OcclusionAttention  # noqa: E402
from clear_rt.runtime.slim.planes import chroma_of  # noqa: E402
from clear_rt.shapes import Box  # noqa: E402
from tests.runtime.interpreted_kernels import STREAM, InterpretedKernels, InterpretedMemory, given  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="a GPU is here: test_slim_gpu.py launches on it")
# Rounding of bf16 in the square mean, twice: of the weights and of the result.
HALF_ERROR = 2**-8


@pytest.fixture
def kernels(kernels_spec):
    return InterpretedKernels(kernels_spec.for_gpu(80))


def drawn(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def samples(seed, *shape, dtype=torch.uint8):
    most = 256 if dtype == torch.uint8 else 1024
    found = torch.randint(0, most, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int32)
    return found.to(torch.uint8) if dtype == torch.uint8 else (found << 6).to(torch.int16)


def bits(tensor):
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_a_window_steps(kernels, dtype):
    latents, sums, velocity = drawn(0, 3, 9, 25, 43), drawn(1, 3, 9, 25, 43), drawn(2, 3, 5, 25, 43, dtype=dtype)
    opens, closes = (torch.tensor(flags, dtype=torch.bool) for flags in ([0, 0, 1, 1, 1], [1, 1, 1, 0, 0]))
    rest = drawn(3, 5).abs(), opens, closes, drawn(4, 4), torch.tensor([2])
    found = [latents.clone(), sums.clone()]
    window_step(latents, sums, velocity, 3, *rest)
    slim_step.window_step(kernels, STREAM, *map(given, found), given(velocity), 3, *map(given, rest))
    assert [*map(bits, found)] == [bits(latents), bits(sums)]
    assert kernels.launched == [f"window_step-{'bf16' if dtype == torch.bfloat16 else 'fp32'}"]


def test_an_overlap_is_held_and_faded(kernels):
    latents, held, noise = drawn(0, 3, 7, 25, 43), drawn(1, 3, 4, 25, 43), drawn(2, 3, 7, 25, 43)
    sigmas, step, shares, kept = drawn(3, 5).abs(), torch.tensor([3]), drawn(4, 4), drawn(5, 4)
    found = latents.clone()
    hold_overlap(latents, held, noise, sigmas, step)
    slim_hold.hold_overlap(kernels, STREAM, *map(given, (found, held, noise, sigmas, step)))
    assert bits(found) == bits(latents)
    fade_overlap(latents, held, shares, kept)
    slim_hold.fade_overlap(kernels, STREAM, *map(given, (found, held, shares, kept)))
    assert bits(found) == bits(latents)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16], ids=str)
def test_a_picture_becomes_the_input(kernels, dtype):
    luma, chroma = samples(0, 45, 66, dtype=dtype)[:, :61], samples(1, 23, 31, 2, dtype=dtype)
    matrix = input_matrix(8 if dtype == torch.uint8 else 16, False, "bt709").float()
    wanted = yuv_to_input(luma, chroma[..., 0], chroma[..., 1], matrix, -3, 20, 48, 80, torch.bfloat16)
    out = torch.full((3, 48, 80), torch.nan, dtype=torch.bfloat16)
    planes = given(luma), *chroma_of(given(chroma))
    slim_input.yuv_to_input(kernels, STREAM, *planes, given(matrix), -3, 20, given(out))
    assert bits(out) == bits(wanted)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (33, 33)])
def test_fields_are_filled(kernels, size):
    field = drawn(0, 2, *size)
    field[drawn(1, 2, *size) > -0.5] = torch.nan
    fill = slim_pull_push.PullPush(kernels, InterpretedMemory(), STREAM, 2, *size)
    for seed in (2, 3):
        found = fill(STREAM, given(field))
        wanted = torch_pull_push.pull_push(field)
        assert bits(found.owner) == bits(wanted)
        field[drawn(seed, 2, *size) > 1] = 0.25


def test_what_the_pyramid_is_made_of_is_the_same_as_in_torch():
    assert slim_pull_push.CORRECTIONS == torch_pull_push.CORRECTIONS
    assert (slim_pull_push.OP, slim_pull_push.SWEEPS) == (pull_push_level.OP, pull_push_level.SWEEPS)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16], ids=str)
def test_content_is_composited(kernels, dtype):
    luma, chroma = samples(0, 50, 72, dtype=dtype), samples(1, 25, 36, 2, dtype=dtype)
    # An odd corner: chroma's samples are then shared with pixels outside the box.
    box, generated = Box(3, 5, 64, 40), drawn(2, 3, 40, 64, dtype=torch.bfloat16)
    alpha = (drawn(3, 40, 64) * 200).clamp(0, 255).to(torch.uint8)
    depth, shift = (8, 0) if dtype == torch.uint8 else (10, 6)
    matrix = output_matrix(depth, False, "bt709").float()
    found = luma.clone(), chroma.clone()
    rest = generated, alpha, matrix
    composite(luma, chroma[..., 0], chroma[..., 1], *rest, 3, 5, depth, shift, "membrane")
    memory = InterpretedMemory()
    paste = Composite(kernels, memory, STREAM, box)
    made = memory.asked
    paste(STREAM, given(found[0]), *chroma_of(given(found[1])), *map(given, rest), depth, shift)
    assert [*map(bits, found)] == [bits(luma), bits(chroma)]
    assert memory.asked == made


def attention(kernels, q, k, v, bias, with_lse):
    out = torch.full_like(q, torch.nan, memory_format=torch.contiguous_format)
    lse = torch.full((q.shape[0], q.shape[2], q.shape[1]), torch.nan) if with_lse else None
    attend = OcclusionAttention(kernels, InterpretedMemory(), STREAM)
    optional = [None if tensor is None else given(tensor) for tensor in (bias, lse)]
    attend(STREAM, given(q), given(k), given(v), optional[0], given(out), optional[1])
    return out, lse


@pytest.mark.parametrize(("keys", "biased", "with_lse"), [(70, True, True), (130, True, False), (33, False, False)])
def test_attention_is_that_of_torch(kernels, keys, biased, with_lse):
    fused = drawn(0, 2, max(keys, 50), 3 * 2 * 128, dtype=torch.bfloat16).unflatten(-1, (3, 2, 128))
    q, k, v = fused[:, :50, 0], fused[:, :keys, 1], fused[:, :keys, 2]
    bias = -drawn(1, 2, 2, keys).abs() if biased else None
    wanted = occlusion_attention(q, k, v, bias, with_lse)
    found = attention(kernels, q, k, v, bias, with_lse)
    assert bits(found[0]) == bits(wanted[0])
    assert not with_lse or bits(found[1]) == bits(wanted[1])


@pytest.mark.parametrize(("keys", "hopper"), [(200, True), (202, False), (100, False)])
def test_attention_fetches_whole_blocks_where_it_can(kernels_spec, keys, hopper):
    """202 biases are no multiple of 16 bytes, 100 keys no block."""
    kernels = InterpretedKernels(kernels_spec.for_gpu(90))
    q, k, v = (drawn(i, 1, n, 2, 128, dtype=torch.bfloat16) for i, n in enumerate((150, keys, keys)))
    bias = -drawn(3, 1, 2, keys).abs()
    out, lse = attention(kernels, q, k, v, bias, True)
    wanted, wanted_lse = occlusion_attention_ref(q.float(), k.float(), v.float(), bias)
    assert float((out.float() - wanted).norm() / wanted.norm()) < HALF_ERROR
    torch.testing.assert_close(lse, wanted_lse, rtol=0, atol=2e-3)
    assert kernels.launched == [f"occlusion_attention{'_hopper' * hopper}-bf16-d128-bias-lse"]


def test_what_does_not_fit_is_refused_with_a_sentence(kernels):
    latents, flags, step = (
        given(drawn(0, 2, 4, 3, 3)),
        given(torch.ones(2, dtype=torch.uint8)),
        given(torch.tensor([0])),
    )
    velocity, shares, change = given(drawn(1, 2, 2, 3, 3)), given(drawn(2, 2)), given(drawn(3, 5))

    def stepped(latents=latents, velocity=velocity, start=0, step=step):
        sums = given(drawn(4, *latents.shape))
        slim_step.window_step(kernels, STREAM, latents, sums, velocity, start, shares, flags, flags, change, step)

    stepped()
    for changed, said in (
        ({"start": 3}, "expected 2 latents from start on within 4, got start 3"),
        ({"velocity": given(drawn(1, 2, 3, 3, 3))}, r"expected shares \[W = 3\], got \[2\]"),
        ({"velocity": given(drawn(1, 2, 2, 3, 6)[..., ::2])}, "expected velocity with stride 1 along axis w"),
        ({"step": given(torch.tensor([0], dtype=torch.int16))}, "expected step of i64, got i16"),
    ):
        with pytest.raises(ValueError, match=f"window_step: {said}"):
            stepped(**changed)
    q = given(drawn(0, 1, 8, 2, 32, dtype=torch.bfloat16))
    with pytest.raises(EngineError, match="expected kernel occlusion_attention-bf16-d32 in the bundle, found"):
        OcclusionAttention(kernels, InterpretedMemory(), STREAM)(STREAM, q, q, q, None, q)
    gaps, out = given(drawn(0, 1, 40, 2, 130, dtype=torch.bfloat16)[..., :128]), given(q.owner.new_empty(1, 40, 2, 128))
    with pytest.raises(EngineError, match="expected q_token_stride in multiples of 16, got 260"):
        OcclusionAttention(kernels, InterpretedMemory(), STREAM)(STREAM, gaps, gaps, gaps, None, out)
