"""Whom engines are built for, and every reason why that cannot be."""

from pathlib import Path

import pytest

from clear_rt.errors import ConfigError, EngineError
from clear_rt.runtime.device import Gpu
from clear_rt.runtime.trt_library import Library
from clear_rt.shapes import Size

pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("onnx", reason="the exporter needs onnx: pip install '.[export]'")

from clear_rt.export import chip
from clear_rt.export.build_config import BuildConfig
from clear_rt.export.chip import plan_config
from clear_rt.export.config import ExportConfig

RTX, TENSORRT = Library("tensorrt_rtx", "1.7.1.116", "13"), Library("tensorrt", "11.4.0.106", "13")
H100 = Gpu("NVIDIA H100", 90, 80 << 30, "13.0", "580.1")
A100 = Gpu("NVIDIA A100", 80, 80 << 30, "13.0", "580.1")
BAND = (Size(1280, 192),)


@pytest.fixture
def machine(monkeypatch):
    """Which GPU and library there are; the code under test decides what follows from that."""

    def has(gpu, library):
        monkeypatch.setattr(chip, "first_gpu", lambda: gpu)
        monkeypatch.setattr("clear_rt.runtime.trt_library.library_found", lambda: library)

    return has


def config(precision="bf16", engines=("trt",)):
    return ExportConfig(engines=engines, precision=precision, profiles=BAND, scales=Path("scales.json"))


def test_the_gpu_of_the_machine_is_built_for(machine):
    machine(H100, TENSORRT)
    found = plan_config(config("fp8"), BuildConfig(timing_cache=Path("timing")))
    assert (found.capability, found.is_here, found.timing_cache) == (90, True, Path("timing"))


def test_without_a_gpu_rtx_builds_for_what_it_names(machine):
    machine(None, RTX)
    found = plan_config(config(), BuildConfig(target="sm_89"))
    assert (found.capability, found.is_here, found.timing_cache) == (89, False, None)


def test_a_timing_cache_is_kept_by_tensorrt_alone(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    machine(H100, TENSORRT)
    kept = plan_config(config(), BuildConfig()).timing_cache
    assert kept == tmp_path / "clear-rt" / "timing-11.4.0.106-sm_90"
    machine(None, RTX)
    with pytest.raises(ConfigError, match="it keeps no --timing-cache; leave it out"):
        plan_config(config(), BuildConfig(target="sm_89", timing_cache=Path("timing")))


def test_a_bundle_without_engines_needs_neither(machine):
    machine(None, None)
    assert plan_config(config(engines=("onnx",)), BuildConfig()) is None


@pytest.mark.parametrize(
    ("gpu", "library", "precision", "target", "kind", "said"),
    [
        (None, None, "bf16", "sm_89", EngineError, r"found neither; run pip install 'clear-rt\[rtx\]'"),
        (None, RTX, "bf16", None, ConfigError, "found neither; name the GPU to build for, as in --target sm_89"),
        (None, RTX, "bf16", "sm_90", EngineError, "not for sm_90, and there is no GPU here"),
        (A100, RTX, "bf16", "sm_90", EngineError, r"not for sm_90, and the GPU here is sm_80 \(NVIDIA A100\)"),
        (None, TENSORRT, "bf16", "sm_89", EngineError, "for the GPU of its machine only, and there is no GPU here"),
        (A100, TENSORRT, "bf16", "sm_89", EngineError, "the GPU here is sm_80"),
        (
            A100,
            TENSORRT,
            "fp8",
            None,
            ConfigError,
            r"8\.9 or newer, sm_80 has none \(an A100 has int8.*--precision bf16",
        ),
        (None, RTX, "fp8", "sm_80", ConfigError, "use --precision bf16"),
        (None, RTX, "bf16", "sm_75", ConfigError, "bf16 needs compute capability 8.0 or newer, got sm_75; use fp16"),
    ],
)
def test_what_cannot_be_built(machine, gpu, library, precision, target, kind, said):
    machine(gpu, library)
    with pytest.raises(kind, match=said):
        plan_config(config(precision), BuildConfig(target=target))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "h100"}, "--target must be a compute capability such as sm_89, got 'h100'"),
        ({"target": "sm_9"}, "got 'sm_9'"),
        ({"level": 6}, "--builder-level must be 0 to 5, got 6"),
        ({"level": -1}, "--builder-level must be 0 to 5"),
        ({"workspace_gb": 0.0}, "--workspace must be a number of GB above 0"),
        ({"workspace_gb": float("nan")}, "--workspace must be a number of GB above 0"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ConfigError, match=said):
        BuildConfig(**options)


def test_targets_as_people_write_them():
    assert [BuildConfig(target=text).capability for text in ("sm_89", "sm89", "89", "sm_120")] == [89, 89, 89, 120]
