"""Whether quality is measured: there has to be a reference, and it has to be fast enough."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from clear_rt.bench.ceilings import ceilings_of_cpu
from clear_rt.bench.config import BenchConfig
from clear_rt.bench.counted import stage_works
from clear_rt.bench.network import DECODE, ENCODE, STEP
from clear_rt.bench.plan import Plan
from clear_rt.bench.sizes import sizes_of

if TYPE_CHECKING:
    from clear_rt.bundle import Bundle
    from clear_rt.runtime.engine import Engine

# What ONNX Runtime reaches of a matrix product on a CPU, to predict by.
_CPU_SHARE = 0.25


def not_compared(plan: Plan, config: BenchConfig, engine: Engine, bundle: Bundle) -> str | None:
    """Why an engine is not compared with ONNX Runtime in fp32, None where it is."""
    if config.quality is False:
        return "not asked for (--no-quality)"
    if engine.name == "onnx":
        return "the engine is the reference itself"
    if "onnx" not in bundle.engines:
        return f"bundle {bundle.name} holds no ONNX graphs to compare with"
    return None if config.quality else _too_slow(plan, config, bundle)


def _too_slow(plan: Plan, config: BenchConfig, bundle: Bundle) -> str | None:
    assert bundle.generator is not None
    try:
        works = stage_works(plan, bundle.generator, sizes_of(bundle.generator))
    except ValueError as error:
        return f"how long the reference takes cannot be predicted: {error}"
    # One more step for the velocities.
    calls = {ENCODE: plan.window.latents, DECODE: plan.window.latents, STEP: plan.steps + 1}
    flop = sum(works[stage].flop * count for stage, count in calls.items())
    predicted_s = flop / (_CPU_SHARE * _cpu_flop_per_s())
    if predicted_s <= config.quality_limit_s:
        return None
    return f"the reference would take about {predicted_s:.0f} s on this CPU; give --quality"


@cache
def _cpu_flop_per_s() -> float:
    """Of a matrix product; once is enough for a prediction."""
    return 1e12 * ceilings_of_cpu().matrix_tflops["fp32"]
