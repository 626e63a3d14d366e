"""What all tests share: the mark `gpu`, where the repository is, bundles that all workers take, lines for the log."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from clear_rt.bundle import EMBEDDED
from clear_rt.runtime.device import gpu_count

ROOT = Path(__file__).resolve().parents[1]

# Files that take longest, longest first: a worker that came upon one of them last would let the others wait for it.
_FIRST = (
    "export/test_build.py",
    "kernels/test_aot.py",
    "export/test_clear_tiny_engines.py",
    "test_memory.py",
    "export/test_real_size_engines.py",
    "runtime/test_model_fill.py",
    "export/test_bundle.py",
    "test_trade_offs.py",
)
_MEASURED = "measured"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a job that a script put in the background. Tests interrupt themselves and others, who would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if gpu_count() == 0:
    # Kernels then run in Triton's interpreter; Triton has to know before it is imported by anything.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / "tests" / name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and gpu_count() == 0:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU: the CUDA driver is missing or finds none"))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[Iterable[str]], None]:
    """A function that leaves lines for the end of the log, where they come from whatever worker."""
    return lambda lines: record_property(_MEASURED, list(lines))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = (report for report in terminalreporter.getreports("passed") if report.when == "call")
    measured = [lines for report in passed for name, lines in report.user_properties if name == _MEASURED]
    if measured:
        terminalreporter.section(_MEASURED)
    for lines in measured:
        terminalreporter.write("".join(f"{line}\n" for line in lines))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this run of the tests, as the first worker of pytest-xdist that asks for it makes it.

    The others wait for it. If making fails, whoever waited tries again, and fails, too.
    """
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)
    target, whole = shared / name, shared / f"{name}.whole"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(target, ignore_errors=True)
            make(target)
            whole.touch()
    return target


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def subtitled(root: Path) -> Path:
    """Four seconds of real video with two captions and a tone (samples/README.md)."""
    return root / "samples" / "city-subtitled.mp4"


@pytest.fixture(scope="session")
def clean(root: Path) -> Path:
    """The same four seconds without captions."""
    return root / "samples" / "city-clean.mp4"


@pytest.fixture(scope="session")
def prior_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded bundle without its generator."""
    bundle = shutil.copytree(EMBEDDED, tmp_path_factory.mktemp("bundles") / "prior")
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "prior-only", "generator": None}))
    return bundle


@pytest.fixture(scope="session")
def randomise():
    """A function that fills a network in place, by a seed: nothing at the value where a mistake would not show.

    Matrices and kernels keep the scale of what flows through them, biases are not 0, gains are not 1.
    """
    torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")

    def fill(network, seed=0):
        random = torch.Generator().manual_seed(seed)
        for name, tensor in network.state_dict().items():
            drawn = torch.randn(tensor.shape, generator=random)
            if name.endswith(".gamma") or (tensor.ndim < 2 and "norm" in name and name.endswith("weight")):
                drawn = 1 + 0.3 * drawn
            elif tensor.ndim < 2:
                drawn = 0.3 * drawn
            else:
                drawn = drawn / tensor[0].numel() ** 0.5
            tensor.copy_(drawn)
        return network

    return fill


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of random weights: a transformer of two heads of 128 as in Wan, occlusion head included, a tiny VAE."""
    pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
    pytest.importorskip("safetensors", reason="weights are safetensors: pip install '.[export]'")
    from benchmarks.random_weights import write_random_weights
    from clear_rt.models.dit_config import DitConfig
    from clear_rt.models.vae_config import VaeConfig

    dit = DitConfig(
        width=256, heads=2, layers=3, ffn_width=300, text_width=20, freq_width=32, image_width=16, occlusion=True
    )
    vae = VaeConfig(base_width=4, res_blocks=1)
    return made_once(tmp_path_factory, "weights", lambda folder: write_random_weights(folder, dit, vae))


@pytest.fixture(scope="session")
def random_bundle(random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `random_weights` for the engines onnx and cuda: windows of 5 latents, 2 of them shared."""
    pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")
    from clear_rt.export.bundle import export
    from clear_rt.export.config import ExportConfig

    config = ExportConfig(engines=("onnx", "cuda"), window_latents=5, overlap_latents=2)
    return made_once(tmp_path_factory, "random", lambda target: export(random_weights, target, config))
