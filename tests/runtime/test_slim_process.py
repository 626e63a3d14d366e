"""The slim runtime in processes of its own: what importing it loads, and what it says where there is no GPU."""

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from clear_rt.runtime.device import gpu_count

_IMPORTED = """
import pkgutil, sys
from importlib import import_module
import clear_rt.runtime.slim as slim
names = [found.name for found in pkgutil.iter_modules(slim.__path__)]
for name in names:
    import_module(f"clear_rt.runtime.slim.{name}")
assert len(names) > 15, names
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
_REFUSED = """
import sys
from clear_rt.errors import EngineError
from clear_rt.runtime.slim.context import open_context
try:
    open_context()
except EngineError as error:
    print(error)
"""


def said(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_loads_no_torch_no_triton_and_no_driver():
    loaded = {*said(_IMPORTED).split()}
    assert not loaded & {"torch", "triton", "diffusers", "transformers", "onnx", "pycuda", "cuda", "cupy"}
    assert "clear_rt" in loaded


@pytest.mark.skipif(gpu_count() > 0, reason="a GPU is here")
def test_a_machine_without_a_driver_gets_one_sentence():
    if find_spec("cuda") is None or find_spec("cuda.bindings") is None:
        pytest.skip("the driver is called by cuda-bindings: pip install '.[cuda]'")
    lines = said(_REFUSED).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("expected an NVIDIA driver, found none (")
    assert lines[0].endswith("install one, or use --engine onnx")


def test_a_machine_without_cuda_bindings_gets_one_sentence():
    without = "import sys; sys.modules['cuda.bindings.driver'] = None"
    assert said(without + _REFUSED) == (
        "expected cuda-bindings to use the GPU, found none; run pip install 'clear-rt[cuda]', or use --engine onnx\n"
    )


def test_the_example_compiles_and_names_what_there_is(root):
    """It cannot be imported where pycuda is not: what it takes from us is looked up instead."""
    source = (root / "docs/examples/pycuda_embedding.py").read_text()
    compile(source, "pycuda_embedding.py", "exec")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("clear_rt"):
            module = import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), node.module
