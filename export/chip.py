"""Which GPU engines are built for, and whether that can be."""

from __future__ import annotations

from pathlib import Path

from clear_rt.errors import ConfigError, EngineError
from clear_rt.export.build_config import BuildConfig
from clear_rt.export.config import ExportConfig
from clear_rt.export.plans import PlanConfig
from clear_rt.models.fetched import cache_home
from clear_rt.runtime.device import Gpu, first_gpu
from clear_rt.runtime.trt_library import Library, required_library

FIRST_WITH_FP8, FIRST_WITH_BF16 = 89, 80
# What TensorRT-RTX can be told to build for where there is no GPU; it names no sm_90.
RTX_TARGETS = (75, 80, 86, 89, 120, 121)


def plan_config(config: ExportConfig, build: BuildConfig) -> PlanConfig | None:
    """For whom TensorRT's engines are built; None where the bundle is to have none.

    Raises EngineError where no TensorRT is installed, or it cannot build for that GPU, ConfigError where none is named,
    or where the GPU cannot compute in the precision.
    """
    gpu = first_gpu()
    capability = build.capability or (None if gpu is None else gpu.capability)
    if config.precision == "fp8" and capability is not None:
        _require_fp8(capability)
    if "trt" not in config.engines:
        return None
    library = required_library()
    if capability is None:
        raise ConfigError(
            "expected a GPU in this machine or --target, found neither; name the GPU to build for, as in --target sm_89"
        )
    if config.precision == "bf16" and capability < FIRST_WITH_BF16:
        raise ConfigError(f"--precision bf16 needs compute capability 8.0 or newer, got sm_{capability}; use fp16")
    if library.is_rtx and build.timing_cache is not None:
        raise ConfigError(
            f"{library.title} measures nothing while it builds, so it keeps no --timing-cache; leave it out"
        )
    is_here = gpu is not None and gpu.capability == capability
    if not is_here:
        _require_target(library, capability, gpu)
    return PlanConfig(
        library=library,
        capability=capability,
        is_here=is_here,
        level=build.level,
        workspace_bytes=build.workspace_bytes,
        timing_cache=build.timing_cache or _own_timing_cache(library, capability),
    )


def _own_timing_cache(library: Library, capability: int) -> Path | None:
    """Where TensorRT keeps what it measured, unless told otherwise: another LoRA is then built in less time."""
    return None if library.is_rtx else cache_home() / f"timing-{library.version}-sm_{capability}"


def _require_fp8(capability: int) -> None:
    if capability < FIRST_WITH_FP8:
        raise ConfigError(
            f"--precision fp8 needs compute capability 8.9 or newer, sm_{capability} has none (an A100 has int8, which "
            "this version does not build); use --precision bf16"
        )


def _require_target(library: Library, capability: int, gpu: Gpu | None) -> None:
    here = "there is no GPU here" if gpu is None else f"the GPU here is sm_{gpu.capability} ({gpu.name})"
    if not library.is_rtx:
        raise EngineError(
            f"{library.title} builds for the GPU of its machine only, and {here}; build on an sm_{capability}"
        )
    if capability not in RTX_TARGETS:
        names = ", ".join(f"sm_{target}" for target in RTX_TARGETS)
        raise EngineError(
            f"{library.title} builds for {names} without the GPU itself, not for sm_{capability}, and {here}; build "
            "where that GPU is, or use --engine cuda"
        )
