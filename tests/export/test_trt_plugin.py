"""Attention as a TensorRT plugin: its node in a graph, what it refuses, and NVIDIA's own code that calls it.

TensorRT cannot be installed here, and nobody has run this plugin under it. Its Python bindings can, pure-Python half of
such plugins included; they load TensorRT's libraries, for which those of TensorRT-RTX stand in. So the classes, the
checks of signatures, the registry and the ONNX parser are NVIDIA's; what calls them is this test, in the builder's
order. It proves neither that the builder accepts the plugin nor that an engine runs it.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")

from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.export.trt_plugin import dtype_and_width, plugin_attention, register_plugin  # noqa: E402
from clear_rt.models.attention import attention  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402

Q, K, BIAS = [1, 20_160, 12, 128], [1, 39, 12, 128], [1, 12, 39]


def with_plugin(q, k, v, key_bias):
    return attention(q, k, v, None) if key_bias is None else plugin_attention(q, k, v, key_bias)


@pytest.fixture(scope="module")
def dit(randomise):
    """Two heads of 64 in bfloat16, three blocks of which the last is weighted by occlusion."""
    config = BakedConfig(
        width=128, heads=2, layers=3, ffn_width=64, latent_channels=4, occlusion=True, text_keys=5, timesteps=2
    )
    return randomise(BakedDit(config, attend=with_plugin)).bfloat16().eval()


def exported(module, inputs, shapes=None):
    with torch.no_grad():
        return torch.onnx.export(
            module, inputs, opset_version=20, dynamic_shapes=shapes, dynamo=True, verbose=False
        ).model_proto


@pytest.fixture(scope="module")
def graph(dit):
    """The denoising step."""
    latents = torch.zeros(1, 4, 3, 6, 10, dtype=torch.bfloat16)
    return exported(dit, (latents, dit.control(latents), torch.tensor(0)))


def test_blocks_with_a_bias_become_bare_nodes(dit, graph):
    """Cross-attention of every block, whose padding is a bias, and self-attention of the weighted ones."""
    weighted = sum(dit.config.is_weighted(i) for i in range(dit.config.layers))
    assert 0 < weighted < dit.config.layers
    nodes = [node for node in graph.graph.node if node.domain == "clear_rt"]
    assert [node.op_type for node in nodes] == ["OcclusionAttention"] * (dit.config.layers + weighted)
    assert {opset.domain: opset.version for opset in graph.opset_import}["clear_rt"] == 1
    # A body would be taken instead of the plugin.
    assert not [function for function in graph.functions if function.domain == "clear_rt"]
    for node in nodes:
        assert (len(node.input), len(node.output)) == (4, 1)
        found = {attribute.name: attribute.s.decode() or attribute.i for attribute in node.attribute}
        assert found == {"plugin_namespace": "clear_rt", "plugin_version": "1", "aot": 1}


def test_nodes_take_halves_and_a_bias_of_float32(graph):
    from onnx import TensorProto

    kinds = {value.name: value.type.tensor_type.elem_type for value in [*graph.graph.value_info, *graph.graph.input]}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "OcclusionAttention":
            wanted = [TensorProto.BFLOAT16] * 3 + [TensorProto.FLOAT]
            assert [kinds[name] for name in node.input] == wanted
            assert kinds[node.output[0]] == TensorProto.BFLOAT16


class PluginAttention(torch.nn.Module):
    def forward(self, q, k, v, key_bias):
        return plugin_attention(q, k, v, key_bias)


def test_tokens_may_stay_open():
    q, k, v = (torch.zeros(1, tokens, 2, 64, dtype=torch.float16) for tokens in (5, 7, 7))
    queries, keys = torch.export.Dim("queries"), torch.export.Dim("keys")
    graph = exported(
        PluginAttention(), (q, k, v, torch.zeros(1, 2, 7)), ({1: queries}, {1: keys}, {1: keys}, {2: keys})
    )
    (node,) = graph.graph.node
    assert node.op_type == "OcclusionAttention"
    (out,) = graph.graph.output
    assert [axis.dim_param or axis.dim_value for axis in out.type.tensor_type.shape.dim] == [1, "queries", 2, 64]


@pytest.mark.parametrize(("kind", "dtype"), [("HALF", "fp16"), ("BF16", "bf16")])
@pytest.mark.parametrize(
    "shapes",
    [
        (Q, K, K, BIAS),
        ([-1, -1, -1, 128], [-1, -1, -1, 128], [-1, -1, -1, 128], [-1, -1, -1]),
        ([1, -1, 12, -1], K, [1, -1, -1, -1], [-1, 12, -1]),
    ],
)
def test_shapes_that_fit(kind, dtype, shapes):
    assert dtype_and_width(list(zip((kind, kind, kind, "FLOAT"), shapes, strict=True))) == (dtype, 128)


@pytest.mark.parametrize(
    ("kinds", "shapes", "advice"),
    [
        (("FLOAT", "FLOAT", "FLOAT", "FLOAT"), (Q, K, K, BIAS), "export the graph in bf16 or fp16"),
        (("HALF", "HALF", "BF16", "FLOAT"), (Q, K, K, BIAS), "export the graph in bf16 or fp16"),
        (("HALF", "HALF", "HALF", "HALF"), (Q, K, K, BIAS), "export the graph in bf16 or fp16"),
        (("HALF", "HALF", "HALF", "FLOAT"), (Q, K, [1, 40, 12, 128], BIAS), "export the graph again"),
        (("HALF", "HALF", "HALF", "FLOAT"), (Q, K, K, [1, 12, 40]), "export the graph again"),
        (("HALF", "HALF", "HALF", "FLOAT"), (Q, K, K, [1, 39]), "export the graph again"),
        (("HALF", "HALF", "HALF", "FLOAT"), (Q, [1, 39, 12, 64], K, BIAS), "export the graph again"),
    ],
)
def test_shapes_and_types_that_do_not_fit_are_refused_in_one_sentence(kinds, shapes, advice):
    with pytest.raises(EngineError, match=f"^expected OcclusionAttention of q .*, found .*; {advice}$") as caught:
        dtype_and_width(list(zip(kinds, shapes, strict=True)))
    assert "\n" not in str(caught.value)
    assert f"{kinds[3]} {shapes[3]}" in str(caught.value)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_without_tensorrt_there_is_a_sentence():
    with pytest.raises(EngineError, match="expected TensorRT for an engine with the attention plugin, found none"):
        register_plugin(90)


# What TensorRT's builder does with a plugin ahead of time, step by step, on sizes that are written down as words.
_BUILT = """
import json, sys
from types import SimpleNamespace

import tensorrt_bindings as trt

sys.modules["tensorrt"] = trt
import tensorrt.plugin as trtp
import tensorrt.plugin._tensor

from clear_rt.errors import EngineError
from clear_rt.export.plugin_ptx import plugin_kernel
from clear_rt.export.trt_plugin import register_plugin


class Size(trt.IDimensionExpr):
    @staticmethod
    def of(words):
        size = Size.__new__(Size)
        size.words = words
        return size


class Sizes:
    def constant(self, value):
        return Size.of(str(value))

    def operation(self, operation, a, b):
        adds_nothing = (operation.name, b.words) == ("SUM", "0")
        return a if adds_nothing else Size.of(f"{operation.name}({a.words},{b.words})")


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.said = []

    def log(self, severity, words):
        self.said.append(words)


def described(kind, shape):
    found, plain = trt.DynamicPluginTensorDesc(), trt.PluginTensorDesc()
    plain.dims, plain.type, plain.format = shape, kind, trt.TensorFormat.LINEAR
    found.desc = plain
    return found


# Where sizes leave Python for the library.
tensorrt.plugin._tensor.SymExprImpl = lambda size: size._expr.words
found = {}
register_plugin(90)
register_plugin(90)
try:
    register_plugin(80)
except EngineError as error:
    found["twice"] = str(error)

log = Log()
builder = trt.Builder(log)
network = builder.create_network(0)
axes = ("BNHD", "BMHD", "BMHD", "BHM", "BNHD")
open_sizes = {"B": 1, "N": -1, "M": -1, "H": 12, "D": 128}
kinds = [trt.bfloat16] * 3 + [trt.float32, trt.bfloat16]
shapes = [[open_sizes[axis] for axis in letters] for letters in axes]
inputs = [network.add_input(f"x{i}", kinds[i], shapes[i]) for i in range(4)]
_, _, plugin = trtp.op.clear_rt.OcclusionAttention(*inputs)(trt.QuickPluginCreationRequest.STRICT_AOT)
found["plugin"] = type(plugin).__name__
found["out"] = [kind.name for kind in plugin.get_output_data_types(kinds[:4], [4, 4, 4, 3])]
plugin.get_output_shapes([[Size.of(axis) for axis in letters] for letters in axes[:4]], [], Sizes())
found["out_shape"] = [size._expr.words for size in plugin.output_descs[0].shape_expr]
tensors = [described(kind, shape) for kind, shape in zip(kinds, shapes)]
formats = plugin.get_supported_format_combinations(tensors, 4)
found["formats"] = [f"{tensor.type.name} {tensor.format.name}" for tensor in formats]
plugin.set_tactic(0)
launch, scalars = SimpleNamespace(), type("Scalars", (dict,), {})()
plugin.get_launch_params(None, tensors, 4, launch, scalars, Sizes())
found["launch"] = vars(launch)
found["scalars"] = [scalars[i] for i in range(scalars.nbSymExprs)]
name, ptx = plugin.get_kernel([tensor.desc for tensor in tensors[:4]], [tensors[4].desc])
kernel = plugin_kernel(90, "bf16", 128)
found["same"] = (name, ptx.decode()) == (kernel.name, kernel.ptx)
found["kernel"] = {"threads": kernel.threads, "shared_bytes": kernel.resources.shared_bytes}

for path in sys.argv[1:]:
    parsed = builder.create_network(0)
    parser = trt.OnnxParser(parsed, log)
    log.said.clear()
    assert not parser.parse(open(path, "rb").read())
    errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    found.setdefault("parsed", []).append({"said": list(log.said), "errors": errors})
print(json.dumps(found))
"""


def _tensorrt_folder(folder: Path) -> Path:
    """A folder in which TensorRT's bindings find libraries by TensorRT's names; or the test is skipped."""
    rtx = find_spec("tensorrt_rtx_libs")
    if find_spec("tensorrt_bindings") is None or rtx is None:
        pytest.skip("needs NVIDIA's code: pip install --no-deps tensorrt-cu13-bindings==11.4.0.106 tensorrt-rtx-cu13")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for the one function that TensorRT-RTX lacks")
    libraries = Path(rtx.origin).parent
    (folder / "libnvinfer.so.11").symlink_to(next(libraries.glob("libtensorrt_rtx.so.*")))
    (folder / "libnvonnxparser.so.11").symlink_to(next(libraries.glob("libtensorrt_onnxparser_rtx.so.*")))
    source = folder / "plugins.c"
    source.write_text("int initLibNvInferPlugins(void *logger, const char *name) { return 1; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", folder / "libnvinfer_plugin.so.11"], check=True)
    return folder


@pytest.fixture(scope="module")
def built(root, graph, tmp_path_factory):
    """What NVIDIA's code made of the plugin, in a process of its own: a library that crashes ends no other test."""
    folder = _tensorrt_folder(tmp_path_factory.mktemp("tensorrt"))
    (folder / "graph.onnx").write_bytes(graph.SerializeToString())
    renamed = type(graph)()
    renamed.CopyFrom(graph)
    for node in renamed.graph.node:
        node.op_type = node.op_type.replace("OcclusionAttention", "OcclusionAttentionOfOthers")
    (folder / "renamed.onnx").write_bytes(renamed.SerializeToString())
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": os.pathsep.join((str(root), *sys.path))}
    command = [sys.executable, "-c", _BUILT, folder / "graph.onnx", folder / "renamed.onnx"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_nvidias_code_takes_the_plugin_and_asks_it_for_types_and_shapes(built):
    assert built["plugin"] == "_TemplateAOTPlugin"
    assert (built["out"], built["out_shape"]) == (["BF16"], ["B", "N", "H", "D"])
    assert built["formats"] == ["BF16 LINEAR"] * 3 + ["FLOAT LINEAR", "BF16 LINEAR"]


def test_nvidias_code_gets_the_kernel_and_its_launch(built):
    kernel = built["kernel"]
    assert built["same"]
    assert built["launch"] == {
        "grid_x": "CEIL_DIV(N,128)",
        "grid_y": "H",
        "grid_z": "B",
        "block_x": str(kernel["threads"]),
        "block_y": "1",
        "block_z": "1",
        "shared_mem": str(kernel["shared_bytes"]),
    }
    assert built["scalars"] == ["N", "M"]


def test_the_plugin_is_registered_once(built):
    assert built["twice"].startswith("expected TensorRT without clear_rt::OcclusionAttention, found it registered")


def test_nvidias_parser_finds_the_plugin_of_the_node(built):
    """TensorRT-RTX has no such plugins and says so only after its parser, TensorRT's own, has found one."""
    graph, renamed = built["parsed"]
    assert any("Found registered plugin: OcclusionAttention." in words for words in graph["said"])
    assert "IPluginCreatorV3One" in graph["errors"][0]
    assert not any("Found registered plugin" in words for words in renamed["said"])
    assert "Plugin not found" in renamed["errors"][0]
