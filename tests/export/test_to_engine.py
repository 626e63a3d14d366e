"""Engines really built by TensorRT-RTX for GPUs that are not there, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are ONNX: pip install '.[export]'")
if find_spec("tensorrt_rtx") is None:
    pytest.skip("engines are built by TensorRT-RTX: pip install '.[rtx]'", allow_module_level=True)

from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.export.plan_order import Axes, PlanOrder, Profile  # noqa: E402
from clear_rt.export.to_engine import build_plan  # noqa: E402

ROWS = Profile.static(Axes(rows=8, columns=4))


def graph(path, operator="MatMul", domain=""):
    """x [2*rows, 16] -> x @ weight, or what `operator` makes of the two."""
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["2*rows", 16]) for name in ("x", "y"))
    weight = onnx.numpy_helper.from_array(np.eye(16, dtype=np.float32), "weight")
    node = onnx.helper.make_node(operator, ["x", "weight"], ["y"], domain=domain)
    opsets = [onnx.helper.make_opsetid("", 20), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [x], [y], [weight]), opset_imports=opsets, ir_version=10
    )
    onnx.save(model, path)
    return path


def order(tmp_path, path, capability=89, profiles=(ROWS,), module="tensorrt_rtx", **options):
    return PlanOrder(
        module=module,
        graph=path,
        plan=tmp_path / "it.plan",
        profiles=profiles,
        capability=capability,
        is_here=False,
        **options,
    )


def built_elsewhere(tmp_path, module, code):
    """What `code` does with an order, in a process of its own, where the library is a module in `tmp_path`."""
    asked = order(tmp_path, tmp_path / "g.onnx", module=module)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", code, asked.as_json()]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("capability", [80, 89])
def test_an_engine_is_built_and_described(tmp_path, capability):
    told = []
    asked = order(tmp_path, graph(tmp_path / "g.onnx"), capability, level=3, workspace_bytes=1 << 30)
    report = build_plan(asked, lambda phase, done, total: told.append((done, total)))
    assert report.plan_bytes == asked.plan.stat().st_size > 1000
    assert report.attentions == 0
    assert report.seconds > 0
    assert report.peak_bytes > 50_000_000
    assert told
    assert all(1 <= done <= total for done, total in told)


def test_one_engine_has_several_profiles(tmp_path):
    profiles = (ROWS, Profile(Axes(1, 1), Axes(8, 1), Axes(64, 1)))
    assert build_plan(order(tmp_path, graph(tmp_path / "g.onnx"), profiles=profiles)).plan_bytes > 1000


def test_memory_is_that_of_the_largest_profile_in_whatever_order(tmp_path):
    """x [2*rows, 16] -> softmax(x @ x.T) @ x, which has to hold 2*rows x 2*rows values."""
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["2*rows", 16]) for name in ("x", "y"))
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["turned"]),
        onnx.helper.make_node("MatMul", ["x", "turned"], ["products"]),
        onnx.helper.make_node("Softmax", ["products"], ["shares"]),
        onnx.helper.make_node("MatMul", ["shares", "x"], ["y"]),
    ]
    opsets = [onnx.helper.make_opsetid("", 20)]
    path = tmp_path / "g.onnx"
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=10), path
    )
    small, large = (Profile.static(Axes(rows=rows, columns=1)) for rows in (128, 1024))
    used = [
        build_plan(order(tmp_path, path, profiles=profiles)).activation_bytes
        for profiles in ((small,), (large,), (small, large), (large, small))
    ]
    assert used[0] < used[1] == used[2] == used[3]


def test_a_node_that_nobody_knows_is_one_sentence(tmp_path):
    asked = order(tmp_path, graph(tmp_path / "g.onnx", "OcclusionAttention", "clear_rt"))
    with pytest.raises(
        EngineError, match=r"tensorrt_rtx built no engine of g\.onnx for sm_89 \(g\.onnx: .*lugin"
    ) as raised:
        build_plan(asked)
    assert "\n" not in str(raised.value)
    assert not asked.plan.exists()


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x0a" * 50])
def test_a_damaged_graph_is_one_sentence(tmp_path, content):
    path = tmp_path / "g.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"built no engine of g\.onnx for sm_89"):
        build_plan(order(tmp_path, path))


def test_a_gpu_that_the_library_does_not_name_is_one_sentence(tmp_path):
    with pytest.raises(EngineError, match=r"no engine of g\.onnx for sm_90"):
        build_plan(order(tmp_path, graph(tmp_path / "g.onnx"), 90))


def test_a_full_disk_is_one_sentence(tmp_path):
    asked = order(tmp_path, graph(tmp_path / "g.onnx"))
    (tmp_path / "it.plan").mkdir()
    with pytest.raises(EngineError, match=r"no engine of g\.onnx for sm_89 .*it\.plan"):
        build_plan(asked)


def test_a_builder_that_is_killed_is_one_sentence_and_leaves_nothing(tmp_path):
    """By its own hand, as when the system is out of memory: the child is a process whose module kills itself."""
    (tmp_path / "killing.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    code = (
        "import sys; from clear_rt.export.plan_order import PlanOrder\n"
        "from clear_rt.export.to_engine import build_plan\n"
        "try: build_plan(PlanOrder.from_json(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = built_elsewhere(tmp_path, "killing", code)
    assert done.stdout.startswith("EngineError killing built no engine of g.onnx for sm_89")
    assert f"its process ended with -{signal.SIGKILL.value}" in done.stdout
    assert "free some memory" in done.stdout


def test_an_interrupt_ends_the_builder(tmp_path):
    (tmp_path / "waiting.py").write_text(
        "import json, os, time\n"
        "print(json.dumps({'phase': str(os.getpid()), 'done': 1, 'total': 1}), flush=True)\n"
        "time.sleep(600)\n"
    )
    code = (
        "import os, signal, sys; from clear_rt.export.plan_order import PlanOrder\n"
        "from clear_rt.export.to_engine import build_plan\n"
        "def tell(phase, done, total):\n"
        "    print(phase, flush=True); os.kill(os.getpid(), signal.SIGINT)\n"
        "build_plan(PlanOrder.from_json(sys.argv[1]), tell)"
    )
    done = built_elsewhere(tmp_path, "waiting", code)
    assert "KeyboardInterrupt" in done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_the_child_speaks_json_alone(tmp_path):
    asked = order(tmp_path, graph(tmp_path / "g.onnx"))
    command = [sys.executable, "-m", "clear_rt.export.plan_builder", asked.as_json()]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [*lines[-1]] == ["report"]
