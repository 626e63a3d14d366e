"""The slim runtime on a GPU, in a process without torch, against torch's operations on the same numbers.

Inputs and results travel as files. Graphs are replayed there, too.
"""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is what we compare with: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.colour import input_matrix, output_matrix  # noqa: E402
from clear_rt.kernels.composite import composite  # noqa: E402
from clear_rt.kernels.hold_overlap import fade_overlap, hold_overlap  # noqa: E402
from clear_rt.kernels.occlusion_attention import occlusion_attention_ref  # noqa: E402
from clear_rt.kernels.window_step import window_step  # noqa: E402
from clear_rt.kernels.yuv_to_input import yuv_to_input_ref  # noqa: E402
from tests.runtime.slim_cases import ALL_BITS, BOX, CROP, START  # noqa: E402

# bf16 rounds by 2**-9 in the square mean: weights, and the result.
HALF_ERROR = 2**-8


def drawn(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to("cuda", dtype)


def host(tensor):
    """For a file: bf16 by its bits."""
    tensor = tensor.cpu().contiguous()
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def floats(array):
    """bf16 from a file."""
    return torch.from_numpy(array.copy()).view(torch.bfloat16).float()


def relative(found, wanted):
    return float((found.double() - wanted.double().cpu()).norm() / wanted.double().norm().cpu())


def latents():
    shape, window = (16, 9, 24, 40), 5
    flags = [torch.tensor(one, dtype=torch.bool, device="cuda") for one in ([0, 0, 1, 1, 1], [1, 1, 1, 0, 0])]
    return {
        "latents": drawn(0, *shape), "sums": drawn(1, *shape), "shares": drawn(2, window).abs(),
        "velocity_bf16": drawn(3, 16, window, 24, 40, dtype=torch.bfloat16), "opens": flags[0], "closes": flags[1],
        "change": drawn(4, 6), "step": torch.tensor([2], device="cuda"), "held": drawn(5, 16, 4, 24, 40),
        "noise": drawn(6, *shape), "sigmas": drawn(7, 6).abs(), "kept": drawn(8, 4),
    }  # fmt: skip


def picture(kind):
    bits, shift = ALL_BITS[kind]
    draw = np.random.default_rng(bits)
    dtype = np.uint8 if bits == 8 else np.uint16
    planes = ((draw.integers(0, 1 << bits, shape) << shift).astype(dtype) for shape in ((360, 640), (180, 320, 2)))
    luma, chroma = (torch.from_numpy(plane).cuda() for plane in planes)
    alpha = (200 * drawn(9, BOX.height_px, BOX.width_px)).clamp(0, 255).to(torch.uint8)
    return {
        "luma": luma, "chroma": chroma, "alpha": alpha,
        "generated_bf16": drawn(10, 3, BOX.height_px, BOX.width_px, dtype=torch.bfloat16),
        "to_rgb": input_matrix(bits + shift, False, "bt709").float().cuda(),
        "to_codes": output_matrix(bits, False, "bt709").float().cuda(),
    }  # fmt: skip


def tokens(keys):
    q, k, v = (drawn(11 + i, 2, n, 3, 128, dtype=torch.bfloat16) for i, n in enumerate((500, keys, keys)))
    return {"q_bf16": q, "k_bf16": k, "v_bf16": v, "bias": -drawn(14, 2, 3, keys).abs()}


# 1030 biases are no multiple of 16 bytes: the kernel that goes by rows takes them on every chip.
CASES = {"latents": latents, "nv12": lambda: picture("nv12"), "p010": lambda: picture("p010"),
         "blocks": lambda: tokens(1032), "rows": lambda: tokens(1030)}  # fmt: skip


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Kernels for the GPU that is here."""
    from clear_rt.export.cubins import write_cubins

    folder = tmp_path_factory.mktemp("kernels") / "bundle"
    folder.mkdir()
    major, minor = torch.cuda.get_device_capability()
    (folder / "manifest.json").write_text(json.dumps(write_cubins(folder, [10 * major + minor], "bf16", 128)))
    return folder


@pytest.fixture(scope="module")
def both(compiled, root, tmp_path_factory):
    """What was given, and what the process without torch made of it."""
    given = {case: make() for case, make in CASES.items()}
    files = [tmp_path_factory.mktemp("arrays") / f"{name}.npz" for name in ("given", "made")]
    np.savez(files[0], **{f"{case}/{name}": host(t) for case, found in given.items() for name, t in found.items()})
    command = [sys.executable, "-m", "tests.runtime.slim_child", str(compiled), *map(str, files)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(files[1]) as made:
        return given, dict(made)


@pytest.mark.gpu
def test_latents_are_those_of_torch_bit_for_bit_and_in_every_replay(both):
    given, made = both
    now = {name: tensor.clone() for name, tensor in given["latents"].items()}
    step = now["latents"], now["sums"], now["velocity_bf16"], START, now["shares"], now["opens"], now["closes"]
    window_step(*step, now["change"], now["step"])
    hold_overlap(now["latents"], now["held"], now["noise"], now["sigmas"], now["step"])
    fade_overlap(now["latents"], now["held"], now["kept"], now["kept"])
    for run in ("eager", "first", "second"):
        np.testing.assert_array_equal(made[f"latents/{run}"], host(now["latents"]))
        np.testing.assert_array_equal(made[f"latents/{run}_sums"], host(now["sums"]))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ALL_BITS)
def test_pictures_are_those_of_torch(both, kind):
    given, made = both
    now = {name: tensor.clone() for name, tensor in given[kind].items()}
    luma, chroma = now["luma"], now["chroma"]
    if luma.dtype == torch.uint16:
        luma, chroma = luma.view(torch.int16), chroma.view(torch.int16)
    planes = luma, chroma[..., 0], chroma[..., 1]
    crop = CROP.x_px, CROP.y_px, CROP.height_px, CROP.width_px
    wanted = yuv_to_input_ref(*planes, now["to_rgb"].double(), *crop)
    # A step of bf16 below 1, half of it up and down.
    assert float((floats(made[f"{kind}/input"]) - wanted.float().cpu()).abs().max()) <= 2**-9 + 1e-5
    rest = now["generated_bf16"], now["alpha"], now["to_codes"], BOX.x_px, BOX.y_px, *ALL_BITS[kind], "membrane"
    composite(*planes, *rest)
    for name, plane in (("luma", now["luma"]), ("chroma", now["chroma"])):
        np.testing.assert_array_equal(made[f"{kind}/{name}"], made[f"{kind}/eager_{name}"])
        off = np.abs(made[f"{kind}/{name}"].astype(int) - host(plane).astype(int)) >> ALL_BITS[kind][1]
        # Compiled for any size, the same sums may be fused in another way, and ties fall to the other side.
        assert off.max() <= 1
        assert off.mean() < 1e-3
        assert (made[f"{kind}/{name}"] != host(given[kind][name])).any()


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["blocks", "rows"])
def test_attention_is_that_of_the_formula(both, kind):
    given, made = both
    q, k, v = (given[kind][f"{name}_bf16"].float() for name in "qkv")
    wanted, lse = occlusion_attention_ref(q, k, v, given[kind]["bias"])
    plain, _ = occlusion_attention_ref(q, k, v, None)
    assert relative(floats(made[f"{kind}/out"]), wanted) < HALF_ERROR
    assert relative(floats(made[f"{kind}/plain"]), plain) < HALF_ERROR
    np.testing.assert_allclose(made[f"{kind}/lse"], lse.cpu(), rtol=0, atol=2e-3)


_EMBEDDED = """
import importlib.util, json, sys
import numpy as np
import pycuda.driver as cuda
from pathlib import Path
from pycuda.gpuarray import to_gpu
from clear_rt.manifest import Entry, Files
from clear_rt.runtime.slim.kernel_files import read_kernels
spec = importlib.util.spec_from_file_location("example", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
folder = Path(sys.argv[2])
kernels = read_kernels(Entry(json.loads((folder / "manifest.json").read_text()), "manifest.json"), Files(folder))
cuda.init()
own = cuda.Device(0).make_context()
before = np.random.default_rng(0).integers(16, 236, (720, 1280), np.uint8)
chroma = np.full((360, 640, 2), 128, np.uint8)
on_gpu = to_gpu(before), to_gpu(chroma)
seen = example.grey_out(*on_gpu, kernels, own, cuda.Stream())
after, box = on_gpu[0].get(), example.BOX
inside = after[box.y_px : box.bottom_px, box.x_px : box.right_px]
outside = after != before
outside[box.y_px : box.bottom_px, box.x_px : box.right_px] = False
assert not outside.any() and (inside != before[box.y_px : box.bottom_px, box.x_px : box.right_px]).mean() > 0.5
bits = seen.get().astype(np.uint32) << 16
assert np.abs(bits.view(np.float32)).max() <= 1
assert cuda.Context.get_current() == own
del seen, on_gpu
own.pop()
own.detach()
"""


@pytest.mark.gpu
def test_the_example_runs_in_a_program_of_pycuda(compiled, root):
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("the caller is pycuda: pip install '.[pycuda]'")
    example = root / "docs/examples/pycuda_embedding.py"
    done = subprocess.run([sys.executable, "-c", _EMBEDDED, example, compiled], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
