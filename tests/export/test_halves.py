"""Bundles whose weights are stored as fp16: half the bytes, engines that still agree, and a rounding that is known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")
onnx = pytest.importorskip("onnx", reason="looks into graphs: pip install '.[export]'")

import onnx_ir  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.export.bundle import export  # noqa: E402
from clear_rt.export.config import ExportConfig  # noqa: E402
from clear_rt.export.halves import halve_state  # noqa: E402
from clear_rt.export.networks import Networks  # noqa: E402
from clear_rt.export.stored import Stored  # noqa: E402
from clear_rt.export.to_onnx import control_graph  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402

# One rounding of each weight, 2**-12 of it at most, goes through a few dozen layers that add such errors up.
ROUNDED = 2**-9


def program(path):
    """A graph as the exporter gives it, from a file."""
    return torch.onnx.ONNXProgram(onnx_ir.load(path), None)


@pytest.fixture(scope="module")
def halved(random_weights, random_bundle, tmp_path_factory):
    """The graphs of `random_bundle`, which take long to trace, stored again."""
    target = tmp_path_factory.mktemp("halved") / "bundle"
    roles = open_bundle(random_bundle).generator.graphs
    with pytest.MonkeyPatch.context() as patch:
        graphs = [{role: program(random_bundle / f"{role}.onnx")} for role in roles]
        patch.setattr(Networks, "graphs", lambda networks, dialect, tell: graphs)
        export(random_weights, target, ExportConfig(engines=("onnx", "cuda"), store="fp16"))
    return target


def test_a_graph_fresh_from_the_exporter_becomes_the_same_as_one_from_a_file(tmp_path):
    """What `halved` relies on; only names of nodes are counted otherwise."""
    dit = BakedDit(BakedConfig(width=256, heads=2, layers=1, ffn_width=300, text_keys=5, timesteps=2)).eval()
    made = []
    for folder, store in (("full", "fp32"), ("fresh", "fp16"), ("file", "fp16")):
        (tmp_path / folder).mkdir()
        of = program(tmp_path / "full" / "control.onnx") if folder == "file" else control_graph(dit)
        Stored(tmp_path / folder, store).add_graph("control", of)
        made.append(onnx.load(tmp_path / folder / "control.onnx"))
        for node in made[-1].graph.node:
            node.name = ""
    assert made[0] != made[1] == made[2]


def relative(found, expected):
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


def answers(folder, engine):
    """What the step and both VAE steps make of the same inputs."""
    opened = open_engine(engine, open_bundle(folder))
    random = np.random.default_rng(0)
    latents, control = random.standard_normal((2, 16, 3, 6, 10), dtype=np.float32)
    frames = np.tanh(random.standard_normal((3, 5, 48, 80), dtype=np.float32))
    _, caches = opened.encode(frames[:, :1], None)
    latent, _ = opened.encode(frames[:, 1:], caches)
    _, caches = opened.decode(latents[:, 0], None)
    decoded, _ = opened.decode(latents[:, 1], caches)
    return [opened.velocity(latents, opened.control(control), 4), latent, decoded]


def test_engines_agree_as_closely_as_in_fp32(halved):
    for onnx_made, torch_made in zip(answers(halved, "onnx"), answers(halved, "cuda"), strict=True):
        assert relative(onnx_made, torch_made) < 1e-5


def test_the_price_is_one_rounding(halved, random_bundle):
    for half, full in zip(answers(halved, "onnx"), answers(random_bundle, "onnx"), strict=True):
        assert 0 < relative(half, full) < ROUNDED


def test_files_are_half_as_large(halved, random_bundle):
    for name in ("dit.safetensors", "vae.safetensors", "step.onnx", "decoder_next.onnx"):
        sizes = [(folder / name).stat().st_size for folder in (halved, random_bundle)]
        # Tables, norms, biases and the graph itself stay.
        assert sizes[0] < 0.75 * sizes[1]
    assert open_bundle(halved).built["stored"] == "fp16"


def test_both_engines_store_the_same_tensors_as_fp16(halved):
    """Otherwise they would be two different models."""
    state = load_file(halved / "dit.safetensors")
    weights = {tuple(sorted(t.shape)) for name, t in state.items() if t.dtype == torch.float16 and t.ndim == 2}
    graph = onnx.load(halved / "step.onnx").graph
    stored = [i for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT16]
    assert {tuple(sorted(i.dims)) for i in stored if len(i.dims) == 2} <= weights
    assert len(stored) >= 3 * 6
    assert all(state[name].dtype == torch.float32 for name in ("time", "blocks.0.norm3.weight", "head.head.bias"))


def test_weights_that_fp16_cannot_hold_stay(random_weights):
    state = {"a.weight": torch.full((2, 2), 70000.0), "b.weight": torch.ones(2, 2), "c.bias": torch.ones(2)}
    kept = halve_state(state)
    assert [tensor.dtype for tensor in kept.values()] == [torch.float32, torch.float16, torch.float32]
    assert torch.equal(kept["a.weight"], state["a.weight"])
