"""What `build-engine --dry-run` says: what would be built for which GPU, how large, and with how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clear_rt.export.build import manifest_of
from clear_rt.export.build_config import BuildConfig
from clear_rt.export.checked import checked_weights
from clear_rt.export.chip import plan_config
from clear_rt.export.config import ExportConfig
from clear_rt.export.key import Key, bundle_key, differing, sha256, short
from clear_rt.export.plans import PlanConfig
from clear_rt.export.room import building_bytes, bundle_bytes, running_bytes
from clear_rt.models.sources import weights_source
from clear_rt.runtime.device import first_gpu
from clear_rt.runtime.trt_library import library_found


def prediction(weights: str, output: Path, config: ExportConfig, build: BuildConfig) -> dict[str, dict[str, Any]]:
    """Headings and facts, only JSON types. Needs no GPU. Raises what `plan_config` and `checked_weights` raise."""
    # Without a GPU and without its name everything but what depends on it can be said.
    nameless = build.capability is None and first_gpu() is None
    plans = None if nameless else plan_config(config, build)
    checked = checked_weights(weights_source(weights), config)
    key = bundle_key(checked, config, plans)
    sizes = {f"{name}, GB": _gb(size) for name, size in bundle_bytes(checked, config).items()}
    sizes["memory while building, GB"] = _gb(building_bytes(checked, config))
    found = {
        "machine": _machine(plans),
        "made of": {name: short(value) for name, value in key.items() if value},
        "bundle": {"folder": str(output), "key": sha256(key)[:16], "there": _there(output, key)} | sizes,
    }
    if "trt" in config.engines:
        found["memory while running, GB"] = {
            f"{size.width_px}x{size.height_px}": _gb(running_bytes(checked, config, size)) for size in config.profiles
        }
    return found | {"to know": _falls_back(config, plans)}


def _there(output: Path, key: Key) -> str:
    """What stands in the bundle's place."""
    manifest = manifest_of(output)
    if manifest is None:
        return "nothing"
    found = manifest.get("key")
    if not isinstance(found, dict):
        return "a bundle that does not say what it was made of"
    fields = differing(key, found)
    return f"a bundle with other {', '.join(fields)}" if fields else "this very bundle: nothing will be built"


def _machine(plans: PlanConfig | None) -> dict[str, Any]:
    gpu, library = first_gpu(), library_found()
    return {
        "gpu": "none" if gpu is None else f"{gpu.name}, sm_{gpu.capability}, {gpu.memory_bytes / 1e9:.0f} GB",
        "driver": "none" if gpu is None else f"{gpu.driver}, CUDA {gpu.cuda}",
        "tensorrt": "none" if library is None else library.title,
        "built for": "not named: give --target" if plans is None else f"sm_{plans.capability}",
    }


def _falls_back(config: ExportConfig, plans: PlanConfig | None) -> dict[str, str]:
    """What will not run as one would wish, and why."""
    if "trt" not in config.engines:
        return {"trt": "no engine is built; cuda and onnx run the bundle"}
    library = library_found() if plans is None else plans.library
    weighted = (
        "in standard operations, eight columns wider: TensorRT-RTX has no plugins"
        if library is None or library.is_rtx
        else "our kernel, as a plugin"
    )
    return {
        "attention of the transformer": "one fused node a layer",
        "occlusion-weighted attention": weighted,
        "attention of the VAE": "two products and a softmax: its head is wider than the 256 channels of fused kernels",
        "prior": "in float32",
        "sizes": "only the profiles; regions are scaled and padded to them",
    }


def _gb(size_bytes: float) -> float:
    return round(size_bytes / 1e9, 2)
