"""Our kernels as a bundle has them, compiled once for an A100 and an H100: no GPU is needed for that."""

import json

import pytest

from clear_rt.manifest import Entry, Files
from clear_rt.runtime.slim.kernel_files import read_kernels
from tests.conftest import made_once

CHIPS = (80, 90)


@pytest.fixture(scope="session")
def kernels_folder(tmp_path_factory):
    """Cubins and launches in bf16 for heads of 128 channels, and their entry of a manifest as manifest.json."""
    pytest.importorskip("torch", reason="kernels are compiled by the exporter: pip install '.[export]'")
    pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")
    from clear_rt.export.cubins import write_cubins

    def make(folder):
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps(write_cubins(folder, CHIPS, "bf16", 128)))

    return made_once(tmp_path_factory, "kernels", make)


@pytest.fixture(scope="session")
def kernels_spec(kernels_folder):
    entry = json.loads((kernels_folder / "manifest.json").read_text())
    return read_kernels(Entry(entry, "manifest.json"), Files(kernels_folder))
