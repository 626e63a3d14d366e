"""FP8 linears as ONNX nodes: which, how large, what ONNX Runtime makes of them, and what TensorRT-RTX does."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")
onnx = pytest.importorskip("onnx", reason="looks into graphs: pip install '.[export]'")
ort = pytest.importorskip("onnxruntime")

from clear_rt.export.onnx_fp8 import onnx_fp8_product, writing_fp8  # noqa: E402
from clear_rt.export.quantize import in_fp8  # noqa: E402
from clear_rt.export.scales import Scales  # noqa: E402
from clear_rt.export.to_onnx import step_graph, traced  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.fp8 import Fp8Linear, fp8_product  # noqa: E402
from clear_rt.models.fp8_policy import block_linears, calibrated  # noqa: E402
from clear_rt.runtime.onnx_session import open_session  # noqa: E402

CONFIG = BakedConfig(width=64, heads=2, layers=3, ffn_width=80, occlusion=True, text_keys=5, timesteps=4)
# An E4M3 value of `onnx.TensorProto`.
E4M3 = 17


@pytest.fixture(scope="module")
def fp8(randomise):
    """A transformer with all linears and attention of its blocks in FP8; most inputs saturate nowhere, some do."""
    dit = randomise(BakedDit(CONFIG)).requires_grad_(False).eval()
    dit = dit.place_turns(dit.time)
    return in_fp8(dit, Scales(dict.fromkeys(calibrated(CONFIG), 6.0)), calibrated(CONFIG))


@pytest.fixture(scope="module")
def graph(fp8, tmp_path_factory):
    path = tmp_path_factory.mktemp("fp8") / "step.onnx"
    with writing_fp8(fp8):
        program = step_graph(fp8)
    program.save(path)
    return path


def inputs(dit, grid=(3, 6, 10), seed=0):
    random = torch.Generator().manual_seed(seed)
    latents, control = torch.randn(2, 1, CONFIG.latent_channels, *grid, generator=random).unbind()
    return latents, dit.control(control), torch.tensor(2)


def test_linears_are_quantised_once_and_dequantised_twice_and_attention_s_inputs_once_each(graph):
    model = onnx.load(graph)
    kinds = [node.op_type for node in model.graph.node]
    linears, others = len(block_linears(CONFIG)), 3 * CONFIG.layers
    assert kinds.count("QuantizeLinear") == linears + others
    assert kinds.count("DequantizeLinear") == 2 * linears + others
    onnx.checker.check_model(model, full_check=True)


def test_weights_take_one_byte(graph, fp8):
    stored = [i for i in onnx.load(graph).graph.initializer if i.data_type == E4M3 and len(i.dims) == 2]
    weights = [fp8.get_submodule(name).weight for name in block_linears(CONFIG)]
    assert sorted(len(i.raw_data) for i in stored) == sorted(weight.numel() for weight in weights)


@pytest.mark.parametrize("grid", [(3, 6, 10), (1, 2, 2), (4, 8, 6)])
def test_onnx_runtime_answers_as_torch_does(graph, fp8, grid):
    given = inputs(fp8, grid)
    session = open_session(graph, graph.read_bytes())
    feeds = dict(zip(("latents", "control", "row"), (t.numpy() for t in given), strict=True))
    (found,), expected = session.run(None, feeds), fp8(*given).numpy()
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_the_model_is_as_before_afterwards(fp8):
    linears = [module for module in fp8.modules() if isinstance(module, Fp8Linear)]
    with writing_fp8(fp8):
        assert all(linear.product is onnx_fp8_product for linear in linears)
    with suppress(KeyError), writing_fp8(fp8):
        raise KeyError
    assert all(linear.product is fp8_product for linear in linears)


def dense(x, inputs=48, outputs=32):
    source = torch.nn.Linear(inputs, outputs).requires_grad_(False)
    return torch.nn.Sequential(Fp8Linear.of(source, torch.tensor(4 / 448)), torch.nn.GELU()).to(x).eval()


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def small(request, tmp_path_factory):
    """One linear and an activation."""
    dtype = getattr(torch, request.param)
    x = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(0)).to(dtype)
    model, path = dense(x), tmp_path_factory.mktemp("small") / "small.onnx"
    with writing_fp8(model):
        traced(model, (x,), (None,), ["x"], ["y"]).save(path)
    return path


def test_scales_have_the_type_of_the_data(small):
    model = onnx.load(small)
    onnx.checker.check_model(model, full_check=True)
    types = {i.name: i.data_type for i in model.graph.initializer}
    data = model.graph.input[0].type.tensor_type.elem_type
    quantisers = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(quantisers) == 3
    assert {types[node.input[1]] for node in quantisers} == {data}


_BUILD = """
import sys
import tensorrt_rtx as trt
log = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(log)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, log)
if not parser.parse_from_file(sys.argv[1]):
    sys.exit(str([parser.get_error(i).desc() for i in range(parser.num_errors)]))
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(getattr(trt.ComputeCapability, sys.argv[2]), 0)
plan = builder.build_serialized_network(network, config)
print("parsed,", "refused" if plan is None else "built")
"""


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="no TensorRT-RTX: pip install '.[rtx]'")
@pytest.mark.parametrize(("target", "answer"), [("SM89", "parsed, built"), ("SM80", "parsed, refused")])
def test_tensorrt_rtx_builds_it_where_there_is_fp8(small, target, answer):
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, small, target], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer in done.stdout, done.stderr
    if target == "SM80":
        assert "fp8_e4m3" in done.stdout + done.stderr
