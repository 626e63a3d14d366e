"""What `clear-rt info` says: the machine, the bundle, and a video if one is given."""

from __future__ import annotations

import os
import platform
import textwrap
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from clear_rt.bundle import Bundle, GeneratorSpec, PriorSpec, open_bundle
from clear_rt.config import Policy
from clear_rt.engine_facts import engine_facts
from clear_rt.errors import ConfigError
from clear_rt.schedule import frames_of
from clear_rt.version import __version__

_RUNTIME = ("numpy", "onnxruntime", "av")
_OPTIONAL = ("torch", "triton", "tensorrt", "tensorrt_rtx", "pycuda", "PIL", "rapidocr_onnxruntime")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _machine() -> dict[str, Any]:
    found = {"clear_rt": __version__, "python": platform.python_version(), "cores": os.cpu_count()}
    found |= {package: _version(package) for package in _RUNTIME}
    return found | {"optional": ", ".join(name for name in _OPTIONAL if find_spec(name)) or "none"}


def _network(spec: PriorSpec) -> str:
    return f"{spec.parameters / 1e6:.2f} M parameters, short side {spec.short_side_px} px"


def _bundle(bundle: Bundle) -> dict[str, Any]:
    facts = {
        "name": bundle.name,
        "folder": str(bundle.folder),
        "engines": ", ".join(bundle.engines),
        "prior": _network(bundle.prior),
        "outliner": "none: the prior outlines" if bundle.outliner is None else _network(bundle.outliner),
    }
    facts |= {"generator": "none: --fill membrane only"} if bundle.generator is None else _generator(bundle.generator)
    facts |= {"built": ", ".join(f"{name} {value}" for name, value in bundle.built.items())} if bundle.built else {}
    return facts | {"megabytes": round(bundle.bytes_total / 1e6, 2)}


def _generator(spec: GeneratorSpec) -> dict[str, str]:
    window_frames = frames_of(spec.window_latents, spec.latent_frames)
    # Windows of the policy `reference` are longer than the bundle's, and its last one is shorter.
    policies = (policy for policy in get_args(Policy) if not (spec.latents_fixed and policy == "reference"))
    return {
        "generator": f"{spec.parameters / 1e6:.2f} M parameters, {spec.precision}",
        "window": f"{window_frames} frames ({spec.window_latents} latents), overlap {spec.overlap_latents} latents",
        "sizes": ", ".join(f"{width}x{height}" for width, height in spec.profiles)
        or f"multiples of {spec.multiple_px} px, {spec.max_pixels} pixels at most",
        "steps": f"{', '.join(map(str, sorted(spec.step_tables)))} (default {spec.default_steps})",
        "policies": ", ".join(policies),
        "prompt": textwrap.shorten(spec.prompt, 60, placeholder="…"),
    }


def _video(path: Path) -> dict[str, Any]:
    from clear_rt.frames import probe

    info = probe(path)
    return {
        "container": info.container,
        "codec": info.codec,
        "picture": f"{info.width_px}x{info.height_px} {info.pixel_format}, {info.bit_depth} bit",
        "rotation_degrees": info.rotation_degrees,
        "rate": f"{float(info.rate):.3f} fps, {'variable' if info.is_vfr else 'constant'}",
        "interlaced": info.is_interlaced,
        "duration_s": None if info.duration_us is None else round(info.duration_us / 1e6, 3),
        "frames_estimate": info.frames_estimate,
        "other_streams": ", ".join(f"{s.type} ({s.codec})" for s in info.other_streams) or "none",
    }


def inventory(
    video: Path | None, bundle: Path | None, plan: str | None = None, max_memory: str | None = None
) -> dict[str, dict[str, Any]]:
    """Headings and facts, only JSON types; `memory_plan` of the profile `plan`, see `memory_plan.facts`.

    Raises what `open_bundle`, `probe` and `plan_facts` raise, and ConfigError for `max_memory` without a plan.
    """
    if plan is None and max_memory is not None:
        raise ConfigError(
            f"--max-memory {max_memory} is what a plan is compared with, and there is none; add --plan WxH"
        )
    opened = open_bundle(bundle)
    facts = {"machine": _machine(), "bundle": _bundle(opened), "engines": engine_facts(opened)}
    if video is not None:
        facts["video"] = _video(video)
    if plan is not None:
        from clear_rt.memory_plan.facts import plan_facts

        facts["memory_plan"] = plan_facts(plan, opened, max_memory)
    return facts
