"""Both engines on one exported bundle, against each other and against the definition it was exported from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="one engine is torch: pip install '.[export]'")
pytest.importorskip("safetensors", reason="weights are safetensors: pip install '.[export]'")

from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.errors import BundleError, EngineError  # noqa: E402
from clear_rt.export.prompt import read_prompt  # noqa: E402
from clear_rt.export.stored import file_entry  # noqa: E402
from clear_rt.models.weights import load_dit, load_vae  # noqa: E402
from clear_rt.models.weights_folder import find_weights  # noqa: E402
from clear_rt.runtime.device import gpu_count  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402

# float32 through some 30 layers: both sides round differently, each by 2**-24 a time.
SAME = 1e-5
# Latents, rows and columns of the grid: one token, odd ones, a window of Wan, and the end of the rotary tables.
GRIDS = [(1, 2, 2), (4, 6, 10), (5, 10, 6), (21, 2, 26), (1, 2, 2048)]


def relative(found, expected) -> float:
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


@pytest.fixture(scope="module")
def weights(random_weights):
    return find_weights(random_weights)


@pytest.fixture(scope="module", params=["onnx", "cuda"])
def engine(request, random_bundle):
    return open_engine(request.param, open_bundle(random_bundle))


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def chunks(frames: np.ndarray) -> Iterator[np.ndarray]:
    yield frames[:, :1]
    for start in range(1, frames.shape[1], 4):
        yield frames[:, start : start + 4]


@pytest.mark.parametrize("grid", GRIDS)
def test_velocity_is_that_of_the_unbaked_model(engine, weights, random_bundle, random_weights, grid):
    """The whole way at once: merged, baked, traced, run."""
    dit = load_dit(weights.dit, weights.dit_config)
    prompt = read_prompt(random_weights / "prompt.safetensors").embedding
    text = torch.zeros(1, weights.dit_config.text_tokens, weights.dit_config.text_width)
    text[0, : len(prompt)] = prompt
    latents, control = drawn(1, 16, *grid), drawn(2, 16, *grid)
    held = engine.control(control)
    timesteps = json.loads((random_bundle / "manifest.json").read_text())["generator"]["timesteps"]
    for row in (0, 9, len(timesteps) - 1):
        told = torch.tensor([timesteps[row]], dtype=torch.float64)
        with torch.no_grad():
            expected = dit(torch.from_numpy(latents)[None], torch.from_numpy(control)[None], told, text).velocity[0]
        found = engine.velocity(latents, held, row)
        assert found.dtype == np.float32
        assert relative(found, expected) < SAME


@pytest.mark.parametrize("size_px", [(16, 16), (48, 80), (32, 208)])
def test_streamed_coding_is_that_of_the_whole_run(engine, weights, size_px):
    vae = load_vae(weights.vae, weights.vae_config)
    frames = np.tanh(drawn(3, 3, 17, *size_px))
    with torch.no_grad():
        latents = vae.encode(torch.from_numpy(frames)[None])[0].numpy()
        decoded = vae.decode(torch.from_numpy(latents)[None])[0].numpy()
    caches, found = None, []
    for chunk in chunks(frames):
        latent, caches = engine.encode(chunk, caches)
        found.append(latent)
    assert relative(np.stack(found, 1), latents) < SAME
    caches, found = None, []
    for i in range(latents.shape[1]):
        some, caches = engine.decode(latents[:, i], caches)
        found.append(some)
    assert relative(np.concatenate(found, 1), decoded) < SAME


def test_two_runs_at_once_do_not_meet(engine):
    """Caches belong to the caller: another run in between changes nothing."""
    first, second = (np.tanh(drawn(seed, 3, 5, 32, 32)) for seed in (4, 5))
    alone, caches = engine.encode(first[:, :1], None)
    alone_next, _ = engine.encode(first[:, 1:], caches)
    mixed, caches = engine.encode(first[:, :1], None)
    _, others = engine.encode(second[:, :1], None)
    engine.encode(second[:, 1:], others)
    mixed_next, _ = engine.encode(first[:, 1:], caches)
    np.testing.assert_array_equal(alone, mixed)
    np.testing.assert_array_equal(alone_next, mixed_next)


def test_views_are_as_good_as_copies(engine):
    """Latents are cut out of longer runs, frames out of pictures."""
    wide = drawn(6, 16, 9, 8, 12)
    part, control = wide[:, 2:6, :, ::2][..., :6], drawn(7, 16, 4, 8, 6)
    held = engine.control(control)
    np.testing.assert_array_equal(engine.velocity(part, held, 3), engine.velocity(part.copy(), held, 3))


def test_a_bundle_without_generator_says_so(prior_bundle):
    engine = open_engine("onnx", open_bundle(prior_bundle))
    with pytest.raises(EngineError, match=r"bundle prior-only holds no generative model; use --fill membrane"):
        engine.control(np.zeros((16, 1, 2, 2), np.float32))


def test_odd_latents_fail_in_one_sentence(engine):
    with pytest.raises(EngineError, match=r"failed on .*"):
        engine.control(np.zeros((16, 1, 3, 2), np.float32))


@pytest.fixture
def copy(random_bundle, tmp_path):
    return shutil.copytree(random_bundle, tmp_path / "bundle")


def _change(folder: Path, change) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_graphs_that_changed_places_are_refused(copy):
    def swap(manifest):
        graphs = manifest["generator"]["graphs"]
        graphs["encoder_next"], graphs["decoder_next"] = graphs["decoder_next"], graphs["encoder_next"]

    _change(copy, swap)
    engine = open_engine("onnx", open_bundle(copy))
    _, caches = engine.encode(np.zeros((3, 1, 16, 16), np.float32), None)
    with pytest.raises(
        EngineError, match=r"decoder_next\.onnx: expected the input 1 of \d+, frames .*, found latent .*"
    ):
        engine.encode(np.zeros((3, 4, 16, 16), np.float32), caches)


@pytest.mark.parametrize(("part", "field"), [("dit", "width"), ("vae", "base_width")])
def test_weights_of_other_sizes_are_refused(copy, part, field):
    def grow(manifest):
        manifest["generator"]["models"][part][field] *= 2

    _change(copy, grow)
    with pytest.raises(BundleError, match=rf"{part}\.safetensors does not fit the sizes in manifest\.json"):
        open_engine("cuda", open_bundle(copy))


def test_weights_that_are_no_safetensors_are_refused(copy):
    (copy / "dit.safetensors").write_bytes(b"\xff" * 100)
    _change(copy, lambda m: m["generator"]["weights"].update(dit=file_entry(copy / "dit.safetensors")))
    with pytest.raises(BundleError, match=r"dit\.safetensors is no safetensors file"):
        open_engine("cuda", open_bundle(copy))


def test_auto_takes_onnx_without_a_gpu(random_bundle):
    expected = "cuda" if gpu_count() else "onnx"
    assert open_engine("auto", open_bundle(random_bundle)).name == expected


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("dit", {"nope": 1}, "describes no network for dit.safetensors (BakedConfig holds exactly"),
        ("dit", {"width": 10**9}, "describes no network for dit.safetensors"),
        ("vae", {"temporal_down": True}, "describes no network for vae.safetensors (VaeConfig.temporal_down must be a"),
        ("dit", {"latent_channels": 8}, "expected a transformer of 16 channels and 22 timesteps or more, found 8"),
        ("dit", {"timesteps": 3}, "expected a transformer of 16 channels and 22 timesteps or more, found 16 and 3"),
    ],
)
def test_sizes_that_make_no_network_are_a_damaged_bundle(copy, part, change, said):
    _change(copy, lambda manifest: manifest["generator"]["models"][part].update(change))
    with pytest.raises(BundleError, match=re.escape(said)):
        open_engine("cuda", open_bundle(copy))


def test_rows_beyond_the_table_fail_in_one_sentence(copy):
    """The manifest may promise more timesteps than the graph holds; the graph then says so."""
    latents = drawn(8, 16, 1, 2, 2)
    engine = open_engine("onnx", open_bundle(copy))
    with pytest.raises(EngineError, match=r"step\.onnx failed on .*"):
        engine.velocity(latents, engine.control(latents), 1000)
    engine = open_engine("cuda", open_bundle(copy))
    with pytest.raises(EngineError, match=r"--engine cuda failed on \[1, 16, 1, 2, 2\] \(.*\); build or fetch"):
        engine.velocity(latents, engine.control(latents), 1000)


def _with_outside_weights(folder: Path, hashed: str, named: str) -> None:
    """The control graph, its weights in the file `named`, while the manifest hashes the file `hashed`."""
    onnx = pytest.importorskip("onnx", reason="changes a graph: pip install '.[train]'")
    model = onnx.load(folder / "control.onnx")
    onnx.save(model, folder / "control.onnx", save_as_external_data=True, location=named, size_threshold=64)
    if hashed != named:
        shutil.copy(folder / named, folder / hashed)

    def describe(manifest):
        entry = file_entry(folder / "control.onnx") | {"data": file_entry(folder / hashed)}
        manifest["generator"]["graphs"]["control"] = entry

    _change(folder, describe)


def test_weights_beside_a_graph_are_those_that_the_manifest_hashes(copy, random_bundle):
    _with_outside_weights(copy, "control.onnx.data", "control.onnx.data")
    latents = drawn(9, 16, 2, 4, 4)
    plain = open_engine("onnx", open_bundle(random_bundle)).control(latents).numpy()
    np.testing.assert_array_equal(open_engine("onnx", open_bundle(copy)).control(latents).numpy(), plain)


def test_weights_in_a_file_beside_the_hashed_one_are_refused(copy):
    _with_outside_weights(copy, "good.bin", "evil.bin")
    engine = open_engine("onnx", open_bundle(copy))
    with pytest.raises(EngineError, match=r"keeps weights in evil\.bin, which the bundle's hashes do not cover"):
        engine.control(drawn(9, 16, 2, 4, 4))


def test_a_graph_for_other_channels_is_refused(copy):
    _change(copy, lambda manifest: manifest["generator"].update(latent_channels=8))
    engine = open_engine("onnx", open_bundle(copy))
    with pytest.raises(
        EngineError, match=r"expected the input latents tensor\(float\) \[1, 8, any.*found latents .*1, 16"
    ):
        engine.control(drawn(9, 8, 2, 4, 4))


_WITHOUT_TORCH = """
import sys
from pathlib import Path
from clear_rt.errors import EngineError
from clear_rt.runtime.engine import open_engine
from clear_rt.bundle import open_bundle
sys.modules["torch"] = None
bundle = open_bundle(Path(sys.argv[1]))
print(open_engine("auto", bundle).name, open_engine("auto", bundle, generates=False).name)
try:
    open_engine("cuda", bundle)
except EngineError as error:
    print(error)
"""


def test_without_torch_auto_runs_and_cuda_says_what_is_missing(random_bundle):
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(random_bundle)], check=True, capture_output=True, text=True,
        env=os.environ | {"LD_LIBRARY_PATH": "", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert first == "onnx onnx"
    assert second.startswith("--engine cuda needs torch and safetensors, which cannot be imported")
    assert second.endswith("run pip install 'clear-rt[cuda]' or use --engine onnx")


def test_finding_text_never_loads_torch(random_bundle):
    code = (
        "import sys; from pathlib import Path; from clear_rt.bundle import open_bundle\n"
        "from clear_rt.runtime.engine import open_engine\n"
        "open_engine('auto', open_bundle(Path(sys.argv[1])), generates=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(random_bundle)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
