"""The window step against the wavefront it stands for, bit for bit and step by step, and against its formula."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
triton = pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.denoise import denoise  # noqa: E402
from clear_rt.generator import StepTable  # noqa: E402
from clear_rt.kernels.window_step import window_step, window_step_ref  # noqa: E402
from clear_rt.noise import drawn  # noqa: E402
from clear_rt.schedule import sigmas  # noqa: E402
from clear_rt.windows import opens_closes, plan_windows, shares  # noqa: E402

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Latents, window and overlap: one window, two that share, a last one slid back, latents in many windows, no overlap.
PLANS = [(5, 9, 2), (9, 9, 2), (16, 9, 2), (12, 5, 2), (7, 4, 3), (7, 3, 0), (3, 1, 0)]


class Wavefront:
    """A model whose every answer is also given to the kernel, which must then hold what it is asked next."""

    def __init__(self, plan, steps, device, shape=(2, 3, 5)):
        self.plan, self.steps, self.shape, self.device = plan, steps, shape, device
        levels = sigmas(steps)
        # As `Sampler.change`: subtracted in double precision, rounded once.
        changes = [np.float32(after - before) for before, after in pairwise(levels)]
        self.change = self.put(np.array(changes))
        self.table = StepTable(levels, tuple(range(steps)))
        noise = np.stack([drawn(0, 0)(t, shape) for t in range(plan.total_latents)], axis=1)
        self.latents = self.put(noise)
        self.sums = torch.full_like(self.latents, torch.nan)
        self.shares = shares(plan)
        self.asked = 0

    def put(self, array):
        return torch.from_numpy(np.array(array)).to(self.device)

    def run(self, policy):
        controls = (np.zeros(self.shape, np.float32) for _ in range(self.plan.total_latents))
        found = denoise(controls, drawn(0, 0), self, self.plan, self.table, policy)
        return np.stack(list(found), axis=1)

    def control(self, latents):
        self.asked += 1
        return self.asked - 1

    def velocity(self, latents, i, row):
        window = self.plan.windows[i]
        assert latents.tobytes() == self.latents[:, window.start : window.stop].cpu().numpy().tobytes()
        velocity = np.sin(7 * latents + np.roll(latents, 1, axis=1) + i + row, dtype=np.float32)
        opens, closes = map(self.put, opens_closes(self.plan, i))
        step = torch.tensor([row], device=self.device)
        given = (self.put(velocity), window.start, self.put(self.shares[i]), opens, closes, self.change, step)
        window_step(self.latents, self.sums, *given)
        return velocity


@pytest.mark.parametrize("policy", ["paper", "reference"])
@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_it_is_the_wavefront_bit_for_bit(device, asked, policy):
    # In frames a window of `reference` is longer: 4 W - 3 latents.
    asked = asked if policy == "paper" else (3 * asked[0], max(asked[1] // 2, 1), asked[2] // 2)
    model = Wavefront(plan_windows(*asked, policy), 3, device)
    found = model.run(policy)
    assert found.tobytes() == model.latents.cpu().numpy().tobytes()


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 16), st.integers(1, 5), st.data(), st.integers(1, 3))
def test_it_is_the_wavefront_for_any_plan(total, window, data, steps):
    plan = plan_windows(total, window, data.draw(st.integers(0, window - 1)), "paper")
    model = Wavefront(plan, steps, "cuda" if torch.cuda.is_available() else "cpu", shape=(1, 1, 3))
    assert model.run("paper").tobytes() == model.latents.cpu().numpy().tobytes()


@given(st.integers(1, 300), st.integers(1, 24), st.data(), st.sampled_from(["paper", "stream", "reference"]))
def test_every_latent_is_opened_by_its_first_window_and_closed_by_its_last(total, window, data, policy):
    plan = plan_windows(total, window, data.draw(st.integers(0, window - 1)), policy)
    within = {t: [i for i, window in enumerate(plan.windows) if t in window] for t in range(total)}
    for i, span in enumerate(plan.windows):
        opens, closes = opens_closes(plan, i)
        assert opens.dtype == closes.dtype == np.bool_
        assert opens.tolist() == [within[t][0] == i for t in span]
        assert closes.tolist() == [within[t][-1] == i for t in span]


def arguments(draw, *, channels=2, total=5, window=3, start=1, height=3, width=5, dtype=torch.float32):
    """All inputs; sums are NaN where they are not to be read. Four kinds of latents need a window of 4 or more."""
    opens = torch.arange(window) % 2 == 0
    sums = draw(channels, total, height, width)
    sums[:, start : start + window][:, opens] = torch.nan
    return {
        "latents": draw(channels, total, height, width),
        "sums": sums,
        "velocity": draw(channels, window, height, width, dtype=dtype),
        "start": start,
        "shares": draw(window).abs(),
        "opens": opens.to(sums.device),
        "closes": (torch.arange(window) % 4 < 2).to(sums.device),
        "change": -draw(3).abs(),
        "step": torch.tensor([1], device=sums.device),
    }


def expected(given, wide=torch.float32):
    given = {name: v.to(wide) if torch.is_tensor(v) and v.is_floating_point() else v for name, v in given.items()}
    step = given.pop("step")
    return window_step_ref(**given | {"change": given["change"][step]})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"channels": 1, "total": 1, "window": 1, "start": 0, "height": 1, "width": 1},
        {"total": 8, "window": 4, "start": 4, "height": 35, "width": 31},
    ],
    ids=str,
)
def test_it_is_its_formula(draw, sizes, dtype):
    """In fp32 bit for bit: a product is not fused with a sum in either. In float64 within four roundings."""
    given = arguments(draw, **sizes, dtype=dtype)
    exact = expected(given, torch.float64)
    wanted = expected(given)
    window_step(**given)
    magnitude = 4 + 4 * given["velocity"].double().abs().amax()
    for found, same, near in zip((given["latents"], given["sums"]), wanted, exact, strict=True):
        assert found.cpu().numpy().tobytes() == same.cpu().numpy().tobytes()
        assert torch.equal(found.isnan(), near.isnan())
        assert ((found.double() - near).abs().nan_to_num() <= 4 * 2.0**-24 * magnitude).all()


def test_nothing_beside_the_tensors_is_read_or_written(draw):
    """Every tensor amid NaN, or amid flags and steps that would show."""
    given = arguments(draw)
    wanted = expected(given)
    amid = {}
    for name, tensor in given.items():
        if torch.is_tensor(tensor):
            beside = torch.nan if tensor.is_floating_point() else True
            flat = torch.full((tensor.numel() + 2000,), beside, dtype=tensor.dtype, device=tensor.device)
            flat[1000:-1000] = tensor.flatten()
            amid[name] = flat
    views = {name: flat[1000:-1000].view(given[name].shape) for name, flat in amid.items()}
    window_step(**given | views)
    for name, want in zip(("latents", "sums"), wanted, strict=True):
        assert torch.equal(views[name].nan_to_num(), want.nan_to_num())
        assert amid[name][:1000].isnan().all()
        assert amid[name][-1000:].isnan().all()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("step", [-1, 3, 2**31 - 1])
def test_a_step_that_is_not_in_the_table_leaves_no_number_that_could_pass(draw, step, dtype):
    given = arguments(draw) | {"step": torch.tensor([step], dtype=dtype).to(draw(1).device)}
    before = given["latents"].clone()
    window_step(**given)
    assert given["latents"][:, 1:3].isnan().all()
    assert torch.equal(given["latents"][:, 3:], before[:, 3:])


def test_flags_may_be_bytes_and_the_step_of_either_width(draw):
    given = arguments(draw)
    other = {name: v.clone() if torch.is_tensor(v) else v for name, v in given.items()}
    flags = {name: 3 * other[name].to(torch.uint8) for name in ("opens", "closes")}
    window_step(**given)
    window_step(**other | flags | {"step": other["step"].int()})
    assert torch.equal(given["latents"], other["latents"])


def test_nothing_in_nothing_out(draw):
    given = arguments(draw)
    before = given["latents"].clone()
    window_step(**given | {"velocity": given["velocity"][:, :0]})
    assert torch.equal(given["latents"], before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: {"latents": v["latents"].half()}, "expected latents of float32, got float16"),
        (lambda v: {"latents": v["latents"][0]}, r"expected latents \[C, L, h, w\], got \[5, 3, 5\]"),
        (lambda v: {"sums": v["sums"][:, :4]}, r"expected sums \[C = 2, L = 5, h = 3, w = 5\], got \[2, 4, 3, 5\]"),
        (
            lambda v: {"velocity": v["velocity"].transpose(2, 3).contiguous().transpose(2, 3)},
            r"expected velocity with stride 1 along axis w, got strides \(45, 15, 1, 3\); call .contiguous",
        ),
        (lambda v: {"velocity": v["velocity"].double()}, "expected velocity of float16 or bfloat16 or float32, got fl"),
        (lambda v: {"shares": v["shares"][:2]}, r"expected shares \[W = 3\], got \[2\]"),
        (lambda v: {"opens": v["opens"].int()}, "expected opens of bool or uint8, got int32"),
        (lambda v: {"closes": v["closes"][:2]}, r"expected closes \[W = 3\], got \[2\]"),
        (lambda v: {"change": v["change"].double()}, "expected change of float32, got float64"),
        (lambda v: {"step": v["step"].float()}, "expected step of int32 or int64, got float32"),
        (lambda v: {"start": 3}, "expected 3 latents from start on within 5, got start 3"),
        (lambda v: {"start": -1}, "expected 3 latents from start on within 5, got start -1"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, change, said):
    given = arguments(draw)
    with pytest.raises(ValueError, match=said):
        window_step(**given | change(given))


def test_the_op_is_complete_for_compile_and_export(draw):
    given = tuple(arguments(draw).values())
    torch.library.opcheck(window_step, given, test_utils=("test_schema", "test_faketensor"))
    latents, sums, *others = given
    exported = torch.export.export(Step(), (latents, sums, *others)).module()
    found, wanted = (latents.clone(), sums.clone()), (latents.clone(), sums.clone())
    window_step(*wanted, *others)
    assert torch.equal(exported(*found, *others), wanted[0] * 2)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(found, wanted, strict=True))


class Step(torch.nn.Module):
    def forward(self, latents, sums, velocity, start, shares, opens, closes, change, step):
        window_step(latents, sums, velocity, start, shares, opens, closes, change, step)
        return latents * 2


_DISASSEMBLE = """
import sys
from itertools import pairwise
from pathlib import Path
from clear_rt.kernels.aot import compiled
for name in sys.argv[2:]:
    Path(sys.argv[1], name).write_bytes(compiled(90, name).cubin)
"""


def test_compiled_for_a_gpu_no_product_is_fused_with_a_sum_and_no_small_number_is_cut_off(root, tmp_path):
    """What the interpreter cannot show. norm_modulate fuses: the search would find it."""
    exact, fused = ("window_step-fp32", "hold_overlap", "fade_overlap"), "norm_modulate-bf16"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", _DISASSEMBLE, str(tmp_path), *exact, fused]
    subprocess.run(command, cwd=root, env=environment, check=True)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
    code = {
        name: subprocess.run([tool, "-c", tmp_path / name], check=True, capture_output=True, text=True).stdout
        for name in (*exact, fused)
    }
    assert "FFMA" in code[fused]
    for name in exact:
        assert "FMUL" in code[name]
        assert "FADD" in code[name]
        assert "FFMA" not in code[name]
        assert "FTZ" not in code[name]


@pytest.mark.gpu
def test_a_window_of_720p_is_its_formula(draw):
    given = arguments(draw, channels=16, total=40, window=21, start=17, height=90, width=160)
    wanted = expected(given)
    window_step(**given)
    assert torch.equal(given["latents"], wanted[0])


@pytest.mark.gpu
def test_a_captured_graph_takes_the_step_that_is_due(draw):
    given = arguments(draw)
    kept = {name: v.clone() if torch.is_tensor(v) else v for name, v in given.items()}
    window_step(**given)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        window_step(**given)
    for step in (2, 0, 1):
        given["latents"].copy_(kept["latents"])
        given["sums"].copy_(kept["sums"])
        given["step"].fill_(step)
        wanted = expected(given)
        graph.replay()
        assert torch.equal(given["latents"], wanted[0])
