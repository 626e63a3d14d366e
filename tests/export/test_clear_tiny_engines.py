"""Every engine of the embedded clear-tiny, really built by TensorRT-RTX for GPUs that are not there."""

from __future__ import annotations

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
from clear_rt.export.networks import Networks, narrow  # noqa: E402
from clear_rt.export.plans import HALVES, PlanConfig, PlanSet, window_axes  # noqa: E402
from clear_rt.export.quantize import quantize  # noqa: E402
from clear_rt.export.scales import Scales  # noqa: E402
from clear_rt.export.to_onnx import step_graph  # noqa: E402
from clear_rt.models.fp8_policy import Fp8Policy, block_linears, quantized_linears  # noqa: E402
from clear_rt.plans import PLAN_ROLES  # noqa: E402
from clear_rt.runtime.trt_library import required_library  # noqa: E402
from clear_rt.shapes import Size  # noqa: E402

BUNDLE = open_bundle()
# A band with two lines of text in 360p, in windows as the bundle has them, and in longer ones.
BAND = Size(640, 144)
LATENTS, MORE_LATENTS = BUNDLE.generator.window_latents, 21
BLOCKS = 6


def networks(precision):
    """The trained networks as `build-engine` has them when it comes to engines; any scales of FP8 will do for that."""
    dit = embedded_dit(BUNDLE.generator)
    quantised = precision == "fp8"
    served = quantize(dit, Scales(dict.fromkeys(block_linears(dit.config), 6.0)), Fp8Policy()) if quantised else dit
    found = Networks(dit, served, *embedded_vae(BUNDLE.generator))
    narrow(found, ExportConfig(precision=precision, scales=Path("made up") if quantised else None))
    return found


def step(precision, latents):
    found = networks(precision)
    return {"step": step_graph(found.served, tensorrt(HALVES[precision]), window_axes(BAND, latents))}


def plan_set(folder, capability, latents=LATENTS):
    plans = PlanConfig(library=required_library(), capability=capability, is_here=False)
    return PlanSet(folder, [BAND], latents, plans)


@pytest.fixture(scope="module")
def graphs():
    """Of all networks by precision: the same for every GPU, so that they are traced once."""
    axes = window_axes(BAND, LATENTS)
    return cache(lambda precision: [*networks(precision).graphs(tensorrt(HALVES[precision]), lambda stage: None, axes)])


@pytest.fixture(scope="module")
def plans(graphs, tmp_path_factory):
    """All engines by precision and GPU."""

    @cache
    def built(precision, capability):
        found = plan_set(tmp_path_factory.mktemp(f"{precision}-{capability}"), capability)
        for some in graphs(precision):
            found.add(some)
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


def test_memory_of_a_step_grows_with_the_tokens_and_not_with_their_square(plans, tell, tmp_path):
    more = plan_set(tmp_path, 89, MORE_LATENTS)
    more.add(step("bf16", MORE_LATENTS))
    tell(summary(more.reports, f"clear-tiny, 640x144, {MORE_LATENTS} latents, bf16, sm_89"))
    used = plans("bf16", 89).reports["step"].activation_bytes, more.reports["step"].activation_bytes
    # Some memory does not depend on the tokens, so that each takes less where there are more. 7,560 x 7,560 logits of
    # three heads in bf16 would be 343 MB.
    assert 1 < used[1] / used[0] <= MORE_LATENTS / LATENTS


def test_fp8_builds_where_there_is_any_and_keeps_weights_in_half_the_bytes(plans, tell, tmp_path):
    graph = step("fp8", LATENTS)
    eighths = plan_set(tmp_path, 89)
    eighths.add(graph)
    report = eighths.reports["step"]
    tell(summary(eighths.reports, "clear-tiny, 640x144, fp8, sm_89"))
    assert report.attentions == 2 * BLOCKS
    dit = embedded_dit(BUNDLE.generator)
    quantised = sum(dit.get_parameter(f"{name}.weight").numel() for name in quantized_linears(dit.config, Fp8Policy()))
    assert plans("bf16", 89).reports["step"].weights_bytes - report.weights_bytes == pytest.approx(quantised, rel=0.1)
    with pytest.raises(EngineError, match=r"no engine of step\.onnx for sm_80 .*fp8"):
        plan_set(tmp_path, 80).add(graph)
