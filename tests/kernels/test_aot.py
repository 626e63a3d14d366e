"""Kernels compile for an A100 and an H100 without a GPU, fit them, and use what the committed table says.

The other chips of that table take 580 compilations more: `python -m clear_rt.kernels.aot`.
"""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")


def test_every_variant_compiles_within_the_limits_of_its_chip(root):
    """In a process of its own: this one has turned kernels over to the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "clear_rt.kernels.aot", "--chips", "80,90"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kernels compiled for sm_80, sm_90" in done.stdout
