"""Real engines: what is taken out of one between any two frames makes another one go on with the same bits."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from clear_rt.bundle import open_bundle
from clear_rt.config import DenoiseConfig
from clear_rt.generate import CropGenerator
from clear_rt.report import Stopwatch
from clear_rt.runtime.onnx import OnnxEngine
from clear_rt.states import StateError, packed, unpacked

# clear-tiny's windows of 9 latents, 2 of them shared: two windows, the last one slid back.
TOTAL, HEIGHT, WIDTH = 38, 16, 32
CUTS = (1, 6, 29, 36)


def _onnx():
    return OnnxEngine(open_bundle())


def _networks(kind):
    from benchmarks.embedded_weights import embedded_dit, embedded_vae

    spec = open_bundle().generator
    networks = embedded_dit(spec), *embedded_vae(spec)
    if kind == "torch":
        from clear_rt.runtime.torch_networks import TorchNetworks

        return TorchNetworks(*networks)
    pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")
    from clear_rt.runtime.cuda.networks import CudaNetworks

    return CudaNetworks(*networks, by_kernels=False)


ENGINES = ("onnx", "torch", "cuda")


@cache
def _engine(name, number):
    return _onnx() if name == "onnx" else _networks(name)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only wait for each other's threads, much longer where cores are shared."""
    torch = pytest.importorskip("torch", reason="two engines are torch: pip install '.[export]'")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=ENGINES)
def engines(request):
    """Its name, and two of them that know nothing of each other."""
    return request.param, _engine(request.param, 1), _engine(request.param, 2)


def _crops(first=0):
    for index in range(first, TOTAL):
        yield np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def _generator(engine, policy):
    return CropGenerator(engine, open_bundle().generator, DenoiseConfig(policy=policy, steps=2))


def _frames(generator, state=None):
    crops = _crops(0 if state is None else generator.first_crop(TOTAL, state))
    return generator.frames(0, generator.groups(crops, TOTAL, state), TOTAL, Stopwatch(), state=state)


def _bits(generator, frame):
    return np.ascontiguousarray(generator.side.to_host(frame)).tobytes()


@pytest.mark.parametrize("policy", ["paper", "reference", "stream"])
def test_another_engine_goes_on_with_the_same_bits(engines, policy):
    _, first, second = engines
    generator, found, states = _generator(first, policy), [], {}
    frames = _frames(generator)
    for index in range(TOTAL):
        if index in CUTS:
            states[index] = packed(frames.state())
        found.append(_bits(generator, next(frames)))
    assert len(set(found)) == TOTAL
    again = _generator(second, policy)
    # Another run in between leaves its traces in whatever is used once more.
    next(_frames(again))
    for index, state in states.items():
        rest = [_bits(again, frame) for frame in _frames(again, unpacked(state))]
        assert rest == found[index:], index


def test_states_of_other_engines_are_refused(engines):
    name, first, _ = engines
    frames = _frames(_generator(first, "paper"))
    next(frames)
    stored = unpacked(packed(frames.state()))
    for other in ENGINES:
        # Caches of onnx and torch have the same form: of these the signature tells.
        generator = _generator(_engine(other, 2), "paper")
        if "cuda" in (name, other) and name != other:
            with pytest.raises(StateError):
                _frames(generator, stored)
        assert (generator.signature == _generator(first, "paper").signature) == (name == other)


def test_caches_that_do_not_fit_are_refused(engines):
    _, first, second = engines
    generator = _generator(first, "paper")
    frames = _frames(generator)
    next(frames)
    arrays = unpacked(packed(frames.state())).part("decoding").numbered("cache")
    side = _generator(second, "paper").side
    for wrong in (
        [], arrays[:-1], [*arrays, arrays[-1]], [array.astype(np.float16) for array in arrays],
        [array[None] for array in arrays],
    ):  # fmt: skip
        with pytest.raises(StateError):
            side.restored("decoder", wrong)
    with pytest.raises(StateError):
        side.restored("encoder", arrays)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_tensors_cross_bit_by_bit(dtype):
    import torch

    from clear_rt.runtime.cuda.crossing import as_bits, from_bits

    tensor = torch.randn(3, 4, 5).to(getattr(torch, dtype))
    tensor[0, 0, 0] = float("nan")
    bits = as_bits(tensor.transpose(0, 2))
    bits.flags.writeable = False
    found = from_bits(bits, tensor.device)
    assert found.dtype == tensor.dtype
    assert torch.equal(found.view(torch.uint8), tensor.transpose(0, 2).contiguous().view(torch.uint8))
