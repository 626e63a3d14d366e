"""Every engine of the embedded clear-tiny, really built by TensorRT-RTX for GPUs that are not there."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")
if find_spec("tensorrt_rtx") is None:
    pytest.skip("engines are built by TensorRT-RTX: pip install '.[rtx]'", allow_module_level=True)

from benchmarks.embedded_weights import embedded_dit, embedded_vae  # noqa: E402
from benchmarks.real_size_engines import summary  # noqa: E402
from clear_rt.bundle import EMBEDDED, open_bundle  # noqa: E402
from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.export.config import ExportConfig  # noqa: E402
from clear_rt.export.dialect import tensorrt  # noqa: E402
from clear_rt.export.networks import Networks, build_plans, narrow  # noqa: E402
from clear_rt.export.plans import HALVES, PlanConfig, PlanSet, window_axes  # noqa: E402
from clear_rt.export.quantize import quantize  # noqa: E402
from clear_rt.export.scales import Scales  # noqa: E402
from clear_rt.export.to_onnx import step_graph  # noqa: E402
from clear_rt.models.fp8_policy import Fp8Policy, block_linears, quantized_linears  # noqa: E402
from clear_rt.plans import PLAN_ROLES  # noqa: E402
from clear_rt.runtime.device import gpu_count  # noqa: E402
from clear_rt.runtime.trt_library import required_library  # noqa: E402
from clear_rt.shapes import Size  # noqa: E402

BUNDLE = open_bundle()
# A band with two lines of text in 360p, in windows as the bundle has them, and in longer ones.
BAND = Size(640, 144)
LATENTS, MORE_LATENTS = BUNDLE.generator.window_latents, 21
BLOCKS = 6


def config(precision):
    """Any scales of FP8 will do for building."""
    scales = Path("made up") if precision == "fp8" else None
    return ExportConfig(engines=("trt",), precision=precision, profiles=(BAND,), scales=scales)


def networks(precision):
    """The trained networks as `build-engine` has them when it comes to engines."""
    dit = embedded_dit(BUNDLE.generator)
    scales = Scales(dict.fromkeys(block_linears(dit.config), 6.0))
    served = quantize(dit, scales, Fp8Policy()) if precision == "fp8" else dit
    found = Networks(dit, served, *embedded_vae(BUNDLE.generator))
    narrow(found, config(precision))
    return found


def step(precision, latents):
    found = networks(precision)
    return {"step": step_graph(found.served, tensorrt(HALVES[precision]), window_axes(BAND, latents))}


class Kept(PlanSet):
    """Keeps the graphs that engines were built of, which are the same for every GPU."""

    def __init__(self, folder, capability, latents=LATENTS):
        library = PlanConfig(library=required_library(), capability=capability, is_here=False)
        super().__init__(folder, [BAND], latents, library)
        self.folder, self.graphs = folder, []

    def add(self, graphs, *, has_plugins=False):
        self.graphs.append(graphs)
        super().add(graphs, has_plugins=has_plugins)


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """All engines by precision and GPU: for sm_80 as `build-engine` builds them, for sm_89 of the same graphs."""

    @cache
    def built(precision, capability):
        found = Kept(tmp_path_factory.mktemp(f"{precision}-{capability}"), capability)
        if capability == 80:
            build_plans(networks(precision), config(precision), found, lambda stage: None)
        else:
            for graphs in built(precision, 80).graphs:
                found.add(graphs)
        prior = BUNDLE.prior
        found.add_prior(EMBEDDED / "prior.onnx", prior.short_side_px, prior.multiple_px)
        return found

    return built


@pytest.mark.parametrize("capability", [80, 89])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_engine_builds(plans, tell, precision, capability):
    found = plans(precision, capability)
    tell(summary(found.reports, f"clear-tiny, 640x144, {precision}, sm_{capability}"))
    assert sorted(found.entries) == sorted(PLAN_ROLES)
    for role, report in found.reports.items():
        assert report.plan_bytes > report.weights_bytes > 0
        assert report.activation_bytes > 0
        # Of each block itself and of the prompt; the VAE's single head is spelled out.
        assert report.attentions == (2 * BLOCKS if role == "step" else 0)


def test_graphs_of_a_bundle_with_one_profile_have_its_sizes_alone(plans):
    """Each engine has it as its only profile, too, so that open sizes would build as well, after twice the time."""
    programs = [program for graphs in plans("bf16", 80).graphs for program in graphs.values()]
    assert len(programs) == len(PLAN_ROLES) - 1
    for program in programs:
        assert all(isinstance(size, int) for value in program.model.graph.inputs for size in value.shape)


def test_memory_of_a_step_grows_with_the_tokens_and_not_with_their_square(plans, tell, tmp_path):
    more = Kept(tmp_path, 89, MORE_LATENTS)
    more.add(step("bf16", MORE_LATENTS))
    tell(summary(more.reports, f"clear-tiny, 640x144, {MORE_LATENTS} latents, bf16, sm_89"))
    used = plans("bf16", 89).reports["step"].activation_bytes, more.reports["step"].activation_bytes
    # Some memory does not depend on the tokens, so that each takes less where there are more. 7,560 x 7,560 logits of
    # three heads in bf16 would be 343 MB.
    assert 1 < used[1] / used[0] <= MORE_LATENTS / LATENTS


def test_fp8_builds_where_there_is_any_and_keeps_weights_in_half_the_bytes(plans, tell, tmp_path):
    graph = step("fp8", LATENTS)
    eighths = Kept(tmp_path, 89)
    eighths.add(graph)
    report = eighths.reports["step"]
    tell(summary(eighths.reports, "clear-tiny, 640x144, fp8, sm_89"))
    assert report.attentions == 2 * BLOCKS
    dit = embedded_dit(BUNDLE.generator)
    quantised = sum(dit.get_parameter(f"{name}.weight").numel() for name in quantized_linears(dit.config, Fp8Policy()))
    assert plans("bf16", 89).reports["step"].weights_bytes - report.weights_bytes == pytest.approx(quantised, rel=0.1)
    with pytest.raises(EngineError, match=r"no engine of step\.onnx for sm_80 .*fp8"):
        Kept(tmp_path, 80).add(graph)


@pytest.mark.skipif(gpu_count() > 0, reason="a GPU is here: tests/runtime/test_trt_gpu.py opens engines for it")
def test_engines_are_opened_as_far_as_the_library_goes_without_a_driver(plans, root):
    """It makes a Runtime, reads how large an engine is, and then asks for the driver that there is not."""
    folder = plans("bf16", 89).folder
    command = [sys.executable, "-m", "tests.runtime.plan_child", str(folder), "89"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(PLAN_ROLES)
    for role, line in zip(PLAN_ROLES, lines, strict=True):
        assert line.startswith(f"TensorRT cannot load the engine {role} (")
        assert "CUDA driver version is insufficient" in line
        assert line.endswith("build the bundle on this machine, or use --engine cuda or onnx")
