"""The benchmark of kernels: that every kernel has a case, that cases are right, and what is made of measurements."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from benchmarks import kernel_run  # noqa: E402
from benchmarks.gpu_time import Timed  # noqa: E402
from benchmarks.kernel_cases import Rival, Target, relative_error  # noqa: E402
from benchmarks.measure import timing  # noqa: E402
from clear_rt.kernels.aot import MODULES  # noqa: E402

HAS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
CEILINGS = {"copy": 3000.0, "bf16": 800.0, "e4m3": 1500.0}


def run(root, *arguments):
    """The benchmark in a process of its own, where Triton is not turned over to the interpreter beforehand."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "benchmarks.bench_kernels", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def cases():
    return {case.name: case for case in kernel_run.cases(DEVICE, tiny=True)}


@pytest.fixture
def residual(cases):
    return cases["gate_residual 135"]


def test_every_kernel_has_a_case(cases):
    assert {module for case in cases.values() for module in case.modules} >= set(MODULES)


def test_a_dry_run_finds_every_case_and_its_rivals_right(root, cases):
    done = run(root, "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert {row["case"] for row in rows if row["metric"] == "error"} == cases.keys()
    assert all(0 <= row["value"] <= row["bound"] for row in rows)
    assert {"error, torch", "error, FlexAttention"} <= {row["metric"] for row in rows}


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU, so that something is measured")
def test_without_a_gpu_nothing_is_measured(root):
    done = run(root)
    said = done.stdout.splitlines()
    assert (done.returncode, said[0]) == (0, "nothing measured: no NVIDIA GPU here")
    assert json.loads(said[-1])["rows"] == []


def test_an_op_that_no_case_has_is_refused_with_those_there_are(root):
    done = run(root, "--dry-run", "--only", "norm_modulat")
    assert done.returncode == 2
    assert "no case of norm_modulat; there are" in done.stderr
    assert "norm_modulate" in done.stderr


def test_a_wrong_kernel_ends_the_run_by_its_name(residual):
    wrong = replace(residual, call=lambda x, y, gate: 1.5 * residual.call(x, y, gate))
    with pytest.raises(kernel_run.WrongResult, match=r"^gate_residual 135 is wrong: relative error 5.00e-01"):
        kernel_run.tried([wrong])


def test_what_a_kernel_leaves_unwritten_is_seen(residual):
    def first_token_only(x, y, gate):
        out = torch.empty_like(x)
        out[:, :1] = residual.call(x[:, :1], y[:, :1], gate)
        return out

    with pytest.raises(kernel_run.WrongResult, match="relative error nan"):
        kernel_run.tried([replace(residual, call=first_token_only)])


def test_a_wrong_rival_is_named(residual):
    wrong = Rival(name="the other one", call=lambda x, y, gate: x)
    with pytest.raises(kernel_run.WrongResult, match="gate_residual 135 by the other one is wrong"):
        kernel_run.tried([replace(residual, rivals=[wrong])])


def test_relative_error_is_that_of_the_worst_tensor():
    exact = torch.tensor([3.0, 4.0])
    assert relative_error(exact + torch.tensor([0.0, 0.5]), exact) == pytest.approx(0.1)
    assert relative_error((exact, exact * 1.2), (exact, exact)) == pytest.approx(0.2)
    nan = float("nan")
    assert relative_error((exact, exact * nan), (exact, exact)) != relative_error(exact, exact) == 0
    # What is of another shape would be broadcast, and what is missing not looked at.
    assert not relative_error(exact[None], exact) <= 1
    with pytest.raises(ValueError, match="zip"):
        relative_error((exact,), (exact, exact))


# 135 tokens, 2 heads of 64; latents of 4 x 6, 16 channels, 21 in a window of which 5 are shared; 48 x 32 pixels.
@pytest.mark.parametrize(
    ("name", "bytes_moved", "flop"),
    [
        ("occlusion_attention 135", 4 * 135 * 128 * 2, 2 * 2 * 2 * 135 * 135 * 64),
        ("occlusion_attention 135 bias", 4 * 135 * 128 * 2 + 2 * 135 * 4, 2 * 2 * 2 * 135 * 135 * 64),
        ("occlusion_attention_fp8 135", 3 * 135 * 128 + 135 * 128 * 2, 2 * 2 * 2 * 135 * 135 * 64),
        ("occlusion_attention 135x39 bias", 2 * 135 * 128 * 2 + 2 * 39 * 128 * 2, 2 * 2 * 2 * 135 * 39 * 64),
        ("norm_modulate 135", 69_120, 0),
        ("norm_modulate 135 fp8", 51_840, 0),
        ("gate_residual 135", 103_680, 0),
        ("gate_residual_norm 135", 138_240, 0),
        ("gate_residual_norm 135 fp8", 120_960, 0),
        ("qk_norm_rope 135", 138_240, 0),
        ("qk_norm_rope_fp8 135 fp8", 103_680, 0),
        ("quantize_values 135 fp8", 51_840, 0),
        # 32 channels of 2 frames of 5 x 7 with 2 past ones to 16, and a quarter of the doubled frame.
        (
            "causal_conv 3x3x3 32to16 2x5x7",
            2 * (4 * 35 * 32 + 2 * 35 * 16 + 27 * 32 * 16),
            2 * 27 * 32 * 16 * 70,
        ),
        ("causal_conv 1x2x2 32to16 1x5x7", 2 * (35 * 32 + 35 * 16 + 4 * 32 * 16), 2 * 4 * 32 * 16 * 35),
        # 12 channels of 2 frames of 4 x 6: 2 frames and 2 past ones read, 4 written.
        ("norm_silu 12x2x4x6", 2 * 12 * 24 * 8, 0),
        ("window_step 48x32", 384 * (21 * 2 + 5 * 4 + 21 * 4 + 21 * 8), 0),
        ("hold_overlap 48x32", 384 * 5 * 12, 0),
        ("fade_overlap 48x32", 384 * 5 * 12, 0),
        ("yuv_to_input 48x32", 1536 + 768 + 3 * 1536 * 2, 0),
        ("pull_push 48x32", 1536 * 8, 0),
        ("composite 48x32 paste", 3 * 1536 * 2 + 1536 + 2 * (1536 + 768), 0),
    ],
)
def test_least_work_is_what_one_counts_by_hand(cases, name, bytes_moved, flop):
    assert (cases[name].bytes, cases[name].flop) == (bytes_moved, flop)


def test_inputs_are_rotated_where_memory_is_the_ceiling(cases):
    moved, computed = cases["norm_modulate 135"], cases["occlusion_attention 135"]
    assert (len(moved.sets()), len(computed.sets())) == (64, 1)
    assert len(replace(moved, bytes=150_000_000).sets()) == 3


def found(case, us, **rivals_us):
    timed = {name: Timed(timing([value / 1e6]), True) for name, value in {"": us, **rivals_us}.items()}
    return kernel_run.Found(case, timed.pop(""), 1e-3, None, timed, {"slow": "left out by --quick"})


def test_rows_of_a_kernel_bound_by_memory(residual):
    case = replace(residual, bytes=30_000_000, rivals=[Rival(name=name, call=max) for name in ("a", "b", "slow")])
    throughput, time, speed_up = kernel_run.rows_of(found(case, 20, a=50, b=30), CEILINGS)
    assert (throughput.value, throughput.unit, throughput.bound) == (pytest.approx(1500), "GB/s", 3000)
    assert throughput.bound_name == "target 80% of copy"
    assert throughput.detail["share_of_ceiling"] == pytest.approx(0.5)
    assert throughput.detail["rivals_us"] == pytest.approx({"a": 50, "b": 30})
    assert throughput.detail["rivals_skipped"] == {"slow": "left out by --quick"}
    assert (time.value, time.bound_name) == (pytest.approx(20), "1500 GB/s, error 1.0e-03")
    assert (speed_up.value, speed_up.bound_name) == (pytest.approx(1.5), "over b, the fastest other way")
    small, *_ = kernel_run.rows_of(found(replace(case, bytes=29_000_000), 20), CEILINGS)
    assert small.bound_name == "copy"


def test_rows_of_a_kernel_with_targets(cases):
    case = replace(
        cases["occlusion_attention 135 bias"],
        flop=40_000_000_000,
        rivals=[Rival(name="other", call=max, same=False), Rival(name="same", call=max)],
        targets=[Target(0.7, ("other",)), Target(1.1, ("same", "absent")), Target(2.0, ("absent",))],
    )
    throughput, time, best, first, second = kernel_run.rows_of(found(case, 100, other=80, same=120), CEILINGS)
    assert (throughput.value, throughput.bound) == (pytest.approx(400), 800)
    assert time.bound_name.startswith("400.0 TFLOP/s")
    assert (best.value, best.bound) == (pytest.approx(1.2), None)
    assert (first.value, first.bound, first.bound_name) == (pytest.approx(0.8), 0.7, "target over other")
    assert (second.value, second.bound, second.bound_name) == (pytest.approx(1.2), 1.1, "target over same")


def test_the_gate_is_a_script_that_bash_reads(root):
    subprocess.run(["bash", "-n", "benchmarks/gpu_gate.sh"], cwd=root, check=True)


@pytest.mark.gpu
def test_a_case_is_timed_on_a_gpu(residual):
    rows = kernel_run.measured([residual], quick=True)
    timed = next(row for row in rows if row.metric == "throughput" and row.case == residual.name)
    assert timed.detail["replayed"]
    assert timed.detail["rivals_us"].keys() == {"torch"}
    assert 0 < timed.detail["us"] < 1000
    # More than what is copied within a chip's caches would mean that time is not counted.
    assert all(0 < row.value < 100_000 for row in rows)
