"""What of a bundle would run where on this machine, and why not elsewhere: a part of `clear-rt info`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from clear_rt.bundle import Bundle
from clear_rt.plans import PlansSpec
from clear_rt.runtime.device import Gpu, first_gpu
from clear_rt.runtime.engine import chosen_engine, trt_obstacles
from clear_rt.runtime.trt.device import missing_kernels

_NONE = "the bundle holds nothing for it"


def engine_facts(bundle: Bundle) -> dict[str, Any]:
    """A line for each engine, for what `--engine auto` takes, and for the memory of every profile of the engine trt."""
    gpu = first_gpu()
    chosen = chosen_engine("auto", bundle, generates=bundle.generator is not None)
    facts = {
        "onnx": "runs, on the CPU" if "onnx" in bundle.engines else _NONE,
        "trt": _trt(bundle, gpu) if "trt" in bundle.engines else _NONE,
        "cuda": _cuda(gpu) if "cuda" in bundle.engines else _NONE,
        "auto": chosen,
    }
    plans = None if bundle.generator is None else bundle.generator.plans
    return facts | ({} if plans is None else _memory(bundle, plans))


def _trt(bundle: Bundle, gpu: Gpu | None) -> str:
    obstacles = trt_obstacles(bundle)
    if obstacles or gpu is None or bundle.generator is None:
        return f"does not run here: {' and '.join(obstacles)}"
    missing = missing_kernels(bundle.generator.kernels, gpu.capability)
    where = "there, too" if missing is None else f"on the CPU ({missing})"
    return f"runs, on {gpu.name}; latents and pictures {where}"


def _cuda(gpu: Gpu | None) -> str:
    if find_spec("torch") is None:
        return "does not run here: torch is not installed"
    if gpu is None:
        return "runs, on the CPU by torch alone: there is no GPU here"
    if find_spec("triton") is None:
        return f"runs, on {gpu.name} by torch alone: Triton is not installed"
    return f"runs, on {gpu.name} by our kernels"


def _memory(bundle: Bundle, plans: PlansSpec) -> dict[str, str]:
    # Arithmetic of layers that most runs of `info` do not need.
    from clear_rt.memory_plan.plans import plans_memory

    assert bundle.generator is not None
    facts = {}
    for size in bundle.generator.profiles:
        memory = plans_memory(bundle.generator, plans, size)
        parts = {"weights": memory.weights, "activations": memory.activations}
        if memory.arrays is not None:
            parts["arrays of one run"] = memory.arrays
        said = ", ".join(f"{count / 1e6:.0f} MB of {name}" for name, count in parts.items())
        untold = "" if memory.arrays is not None else "; its arrays are not told, as the bundle is for trt alone"
        facts[f"trt memory {size.width_px}x{size.height_px}"] = f"{said}{untold}"
    return facts
