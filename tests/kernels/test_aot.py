"""Kernels compile for every chip without a GPU, fit it, and use what the committed table says."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")


def test_every_variant_compiles_for_every_chip_within_its_limits(root):
    """In a process of its own: this one has turned kernels over to the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "clear_rt.kernels.aot"], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kernels compiled for sm_80, sm_86, sm_89, sm_90, sm_100, sm_120" in done.stdout
