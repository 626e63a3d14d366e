"""The `trt` engine on a GPU: engines built here by whichever library is installed, against the torch model.

TensorRT-RTX 1.7.1 refuses an H100 (docs/LOG.md): its sentence is then what is tested. Nobody has run the rest yet.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from clear_rt.errors import EngineError
from clear_rt.runtime.device import first_gpu
from clear_rt.runtime.trt_library import library_found
from clear_rt.shapes import Size

torch = pytest.importorskip("torch", reason="torch is what we compare with: pip install '.[cuda]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")

pytestmark = pytest.mark.gpu
BAND, LATENTS = Size(160, 96), 5
# bf16 rounds by 2**-9 in the square mean, in some 30 layers.
HALF_ERROR = 2e-2


@pytest.fixture(scope="module")
def bundle(random_weights, tmp_path_factory):
    """Engines for this GPU, and the weights that they were built of."""
    from clear_rt.export.bundle import export
    from clear_rt.export.config import ExportConfig
    from clear_rt.export.plans import PlanConfig

    library, gpu = library_found(), first_gpu()
    if library is None:
        pytest.skip("neither TensorRT nor TensorRT-RTX is installed: pip install '.[rtx]'")
    target = tmp_path_factory.mktemp("bundles") / "trt"
    config = ExportConfig(
        engines=("trt", "cuda"), precision="bf16", profiles=(BAND,), window_latents=LATENTS, overlap_latents=2
    )
    plans = PlanConfig(library=library, capability=gpu.capability, is_here=True)
    try:
        export(random_weights, target, config, plans=plans)
    except EngineError as error:
        pytest.skip(f"it builds nothing for this GPU: {error}")
    return target


@pytest.fixture(scope="module")
def both(bundle, root, tmp_path_factory):
    rng = np.random.default_rng(0)
    height, width = BAND.height_px // 8, BAND.width_px // 8
    given = {
        "latents": rng.standard_normal((16, LATENTS, height, width), dtype=np.float32),
        "control": rng.standard_normal((16, LATENTS, height, width), dtype=np.float32),
        "row": np.array(3),
        "clip": np.tanh(rng.standard_normal((3, 17, BAND.height_px, BAND.width_px), dtype=np.float32)),
        "clean": rng.standard_normal((4, 16, height, width), dtype=np.float32),
        "rgb": rng.integers(0, 256, (368, 640, 3), dtype=np.uint8),
        "crops": rng.integers(0, 256, (29, BAND.height_px, BAND.width_px, 3), dtype=np.uint8),
    }
    files = [tmp_path_factory.mktemp("arrays") / f"{name}.npz" for name in ("given", "made")]
    np.savez(files[0], **given)
    command = [sys.executable, "-m", "tests.runtime.trt_child", str(bundle), *map(str, files)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if not files[1].exists():
        # A sentence, and an end in order.
        assert "does not take this GPU" in done.stdout or "cannot load the engine" in done.stdout
        pytest.skip(f"the library takes no engine on this GPU: {done.stdout.strip()}")
    with np.load(files[1]) as made:
        return given, dict(made)


def relative(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


def test_graphs_change_no_bit(both):
    _, made = both
    names = {name.split("/")[1] for name in made}
    assert {"velocity", "latent_0", "frames_0", "occlusion", "crops"} <= names
    for name in names:
        np.testing.assert_array_equal(made[f"True/{name}"], made[f"False/{name}"])


def test_every_engine_is_its_network(both, bundle):
    from clear_rt.bundle import open_bundle
    from clear_rt.runtime.onnx_prior import OnnxPrior
    from clear_rt.runtime.torch import TorchEngine
    from tests.runtime.trt_child import networks

    given, made = both
    opened = open_bundle(bundle)
    engine = TorchEngine(opened)
    for name, expected in networks(engine, given).items():
        if name == "occlusion":
            continue
        assert relative(made[f"True/{name}"], expected) < HALF_ERROR, name
    maps = OnnxPrior(opened.prior).occlusion(given["rgb"]).astype(int)
    assert np.abs(made["True/occlusion"].astype(int) - maps).max() <= 2


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """Compiled for the GPU that is here."""
    pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")
    from clear_rt.export.cubins import write_cubins

    folder = tmp_path_factory.mktemp("kernels") / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(write_cubins(folder, [first_gpu().capability], "bf16", 128)))
    return folder


def test_all_but_tensorrt_is_the_engine_onnx(kernels, subtitled, root):
    """Graphs, copies, memory and pictures on this GPU, in a process without torch."""
    command = [sys.executable, "-m", "tests.runtime.trt_side_child", str(kernels), str(subtitled)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
