"""The `cuda` engine's arithmetic by the kernels' references on the CPU, and runs that share coders."""

import gc
import weakref
from contextlib import closing
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the engine is torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from benchmarks.embedded_weights import embedded_dit, embedded_vae  # noqa: E402
from clear_rt import frames  # noqa: E402
from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.config import DenoiseConfig  # noqa: E402
from clear_rt.generate import CropGenerator  # noqa: E402
from clear_rt.report import Stopwatch  # noqa: E402
from clear_rt.runtime.cuda.engine import CudaEngine  # noqa: E402
from clear_rt.runtime.cuda.networks import CudaNetworks  # noqa: E402
from clear_rt.runtime.cuda.vae_layers import Buffers  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402

# float32 on both sides, in another order: some 30 layers of sums of up to 27 x 64 products.
SAME = 2e-5


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def relative(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


@pytest.fixture(scope="module")
def engines(random_bundle):
    """By the references, and ONNX Runtime."""
    bundle = open_bundle(random_bundle)
    return CudaEngine(bundle, by_kernels=False), open_engine("onnx", bundle)


def streamed(call, pieces):
    caches, found = None, []
    for piece in pieces:
        one, caches = call(piece, caches)
        found.append(one)
    return found


@pytest.mark.parametrize("size_px", [(16, 16), (48, 80), (32, 208)])
def test_coding_is_that_of_onnx_over_several_runs(engines, size_px):
    """A second run finds the coder of the first, and whatever that kept."""
    ours, onnx = engines
    for seed in (1, 2):
        frames = np.tanh(drawn(seed, 3, 13, *size_px))
        pieces = [frames[:, :1], *(frames[:, i : i + 4] for i in range(1, 13, 4))]
        latents, expected = (streamed(engine.encode, pieces) for engine in (ours, onnx))
        assert relative(np.stack(latents), np.stack(expected)) < SAME
        decoded, expected = (streamed(engine.decode, expected) for engine in (ours, onnx))
        assert relative(np.concatenate(decoded, 1), np.concatenate(expected, 1)) < SAME
        gc.collect()


@pytest.mark.parametrize("grid", [(1, 2, 2), (5, 6, 10), (3, 12, 4)])
def test_velocity_is_that_of_onnx(engines, grid):
    latents, control = drawn(3, 16, *grid), drawn(4, 16, *grid)
    for row in (0, 7, 3):
        found, expected = (engine.velocity(latents, engine.control(control), row) for engine in engines)
        assert found.dtype == np.float32
        assert relative(found, expected) < SAME


def test_more_shapes_than_are_kept_are_right_again(engines):
    ours, onnx = engines
    for width in (2, 4, 6, 8, 10, 2):
        latents = drawn(width, 16, 2, 4, width)
        found, expected = (engine.velocity(latents, engine.control(latents), 1) for engine in (ours, onnx))
        assert relative(found, expected) < SAME


def test_coders_of_sizes_that_are_gone_are_let_go(engines):
    """A video may have a region of another size every minute; a coder holds the frames of its size."""
    ours, onnx = engines
    # Those of other engines, which tests before these may have left, are nobody's business here.
    others, made = weakref.WeakSet(found for found in gc.get_objects() if type(found) is Buffers), []
    for width_px in (16, 32, 48, 64, 80, 16):
        frames_ = np.tanh(drawn(width_px, 3, 5, 16, width_px))
        pieces = [frames_[:, :1], frames_[:, 1:]]
        latents, expected = (streamed(engine.encode, pieces) for engine in (ours, onnx))
        assert relative(np.stack(latents), np.stack(expected)) < SAME
        gc.collect()
        made.append(
            weakref.ref(next(found for found in gc.get_objects() if _is_of(found, width_px) and found not in others))
        )
    gc.collect()
    assert [reference() is None for reference in made[:4]] == [True] * 4


def _is_of(found, width_px):
    return type(found) is Buffers and any(place[:2] == (16, width_px) for place in found._held)


def test_answers_are_the_caller_s_own(engines):
    ours, _ = engines
    latents = drawn(5, 16, 2, 4, 4)
    held = ours.control(latents)
    first = ours.velocity(latents, held, 0)
    kept = first.copy()
    ours.velocity(latents, held, 5)
    np.testing.assert_array_equal(first, kept)


def test_runs_at_once_do_not_meet(engines):
    ours, _ = engines
    first, second = (np.tanh(drawn(seed, 3, 5, 32, 32)) for seed in (6, 7))
    alone = streamed(ours.encode, [first[:, :1], first[:, 1:]])
    begun, caches = ours.encode(first[:, :1], None)
    _, others = ours.encode(second[:, :1], None)
    ours.encode(second[:, 1:], others)
    rest, _ = ours.encode(first[:, 1:], caches)
    np.testing.assert_array_equal(np.stack([begun, rest]), np.stack(alone))


def test_clear_tiny_fills_a_real_crop_as_onnx_does(subtitled):
    """Trained weights through encoding, denoising in two windows and decoding: 1e-3 of the range of pictures."""
    bundle = open_bundle()
    networks = CudaNetworks(embedded_dit(bundle.generator), *embedded_vae(bundle.generator), by_kernels=False)
    info = frames.probe(subtitled)
    with closing(frames.read(info)) as pictures:
        crops = [frame.rgb(info.height_px, info.width_px)[-96:, 128:448] for frame in islice(pictures, 30, 55)]
    found = []
    for engine in (networks, open_engine("onnx", bundle)):
        generator = CropGenerator(engine, bundle.generator, DenoiseConfig(steps=2))
        found.append(np.stack(list(generator.crops(0, iter(crops), len(crops), Stopwatch()))))
    assert found[0].shape == (25, 96, 320, 3)
    assert np.abs(found[0] - found[1]).max() < 1e-3 * 255
