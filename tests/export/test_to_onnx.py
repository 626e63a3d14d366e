"""Graphs for a single size: as the networks, and with no size left open."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")
onnxruntime = pytest.importorskip("onnxruntime")

from clear_rt.export.plan_order import Axes  # noqa: E402
from clear_rt.export.to_onnx import control_graph, decoder_graphs, encoder_graphs, step_graph  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from clear_rt.models.vae_step import DecoderStep, EncoderStep  # noqa: E402

# None of them as in the example that is traced where sizes stay open.
AXES = Axes(rows=2, columns=4, latents=3)
TINY_VAE = VaeConfig(base_width=4, res_blocks=1)
# fp32 through some 40 layers, each of which rounds twice or so, by 2**-24 a time; measured: 6e-7.
ROUNDED = 40 * 2 * 2**-24


@pytest.fixture
def answers(tmp_path):
    """A function that runs a graph on the inputs of its network; their sizes are the only ones that it takes."""

    def run(program, *inputs):
        sizes = [[*value.shape] for value in program.model.graph.inputs]
        assert all(isinstance(size, int) for shape in sizes for size in shape)
        assert sizes == [[*x.shape] for x in inputs]
        program.save(tmp_path / "it.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "it.onnx", providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        return session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))

    return run


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert np.linalg.norm(ours - theirs.numpy()) <= ROUNDED * np.linalg.norm(theirs.numpy())


def test_a_step_and_its_control(randomise, answers):
    config = BakedConfig(width=64, heads=2, layers=2, ffn_width=80, occlusion=True, text_keys=5, timesteps=4)
    dit = randomise(BakedDit(config).requires_grad_(False).eval())
    latents, control, row = drawn(1, 16, 3, 4, 8), drawn(1, 16, 3, 4, 8) / 2, torch.tensor(2)
    tokens = dit.control(control)
    assert_same(answers(control_graph(dit, fixed=AXES), control), [tokens])
    assert_same(answers(step_graph(dit, fixed=AXES), latents, tokens, row), [dit(latents, tokens, row)])


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_the_steps_of_the_vae(randomise, answers, role):
    if role == "encoder":
        step = randomise(EncoderStep(TINY_VAE).requires_grad_(False).eval())
        graphs, first, later = encoder_graphs(step, fixed=AXES), drawn(1, 3, 1, 32, 64), drawn(1, 3, 4, 32, 64)
    else:
        step = randomise(DecoderStep(TINY_VAE).requires_grad_(False).eval())
        graphs, first, later = decoder_graphs(step, fixed=AXES), drawn(1, 16, 1, 4, 8), drawn(1, 16, 1, 4, 8)
    begun = step(first)
    assert_same(answers(graphs[f"{role}_first"], first), begun)
    assert_same(answers(graphs[f"{role}_next"], later, *begun[1:]), step(later, *begun[1:]))
