"""Engines of Wan's size for a band of 720p, from random weights: they build, and memory grows with the tokens."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[export]'")
if find_spec("tensorrt_rtx") is None:
    pytest.skip("engines are built by TensorRT-RTX: pip install '.[rtx]'", allow_module_level=True)

from benchmarks.real_size_engines import axes_of, built, summary, transformer, vae_graphs  # noqa: E402
from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.export.dialect import tensorrt  # noqa: E402
from clear_rt.export.to_onnx import step_graph  # noqa: E402

TOKENS = {"720p-band192": 20_160, "720p": 75_600}


@pytest.fixture(scope="module")
def block():
    """One block, by precision. That in bf16 serves every size, the others one."""
    found = {}

    def graph(precision):
        if precision not in found:
            halves = torch.float16 if precision == "fp16" else torch.bfloat16
            fixed = None if precision == "bf16" else axes_of("720p-band192")
            found[precision] = step_graph(transformer(1, precision, occlusion=False), tensorrt(halves), fixed)
        return iter([{"step": found[precision]}])

    return graph


@pytest.mark.parametrize(("precision", "capability"), [("bf16", 80), ("bf16", 89), ("fp16", 89), ("fp8", 89)])
def test_a_block_builds_with_attention_as_fused_nodes(block, tell, tmp_path, precision, capability):
    reports = built(block(precision), "720p-band192", capability, tmp_path)
    tell(summary(reports, f"1 block, 720p-band192, {precision}, sm_{capability}"))
    report = reports["step"]
    # Of the block itself and of the prompt.
    assert report.attentions == 2
    # 20,160 x 20,160 logits of 12 heads in bf16 would be 9.8 GB.
    assert report.activation_bytes < 1e9


def test_memory_grows_with_the_tokens_and_not_with_their_square(block, tmp_path):
    used = [
        built(block("bf16"), profile, 89, tmp_path)["step"].activation_bytes / tokens
        for profile, tokens in TOKENS.items()
    ]
    assert used[1] == pytest.approx(used[0], rel=0.02)


def test_fp8_does_not_build_for_an_a100(block, tmp_path):
    with pytest.raises(EngineError, match=r"no engine of step\.onnx for sm_80 .*fp8"):
        built(block("fp8"), "720p-band192", 80, tmp_path)


def test_the_steps_of_the_vae_build(tell, tmp_path):
    reports = built(vae_graphs("bf16", "720p-band192"), "720p-band192", 89, tmp_path)
    tell(summary(reports, "real size, 720p-band192, bf16, sm_89"))
    assert [*reports] == ["encoder_first", "encoder_next", "decoder_first", "decoder_next"]
    assert all(report.activation_bytes < 1.2e9 for report in reports.values())
