"""What `build-engine --dry-run` says: what would be built for which GPU, how large, and with how much memory.

Sizes follow from the networks'. The factors are what TensorRT-RTX 1.7.1 reported of engines at the real size
(benchmarks/real_size_engines.py, docs/ENGINES.md), which are within a tenth of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from clear_rt.export.build import manifest_of
from clear_rt.export.build_config import BuildConfig
from clear_rt.export.checked import Checked, checked_weights
from clear_rt.export.chip import plan_config
from clear_rt.export.config import ExportConfig
from clear_rt.export.key import Key, bundle_key, differing, sha256, short
from clear_rt.export.plans import PlanConfig, window_axes
from clear_rt.models.baked import BakedConfig, BakedDit
from clear_rt.models.sources import weights_source
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.device import first_gpu
from clear_rt.runtime.trt_library import library_found
from clear_rt.shapes import Size

# Bytes of activations: of the transformer for a channel of a token, of the VAE's steps for a channel of its widest
# stage, which has as many pixels as the picture, and each of the four frames.
_STEP_BYTES, _VAE_BYTES = 29, 11.5
# An engine holds kernels beside its weights.
_KERNELS_BYTES = 9_000_000
_HALF_BYTES, _FULL_BYTES = 2, 4
# In FP8 the linears of the inner blocks, most of all weights, take half as much.
_FP8_SHARE = 0.58
# While an engine is built its weights are there as graph, as network and as engine.
_COPIES = 3.3
_PROMPT_KEYS = 64


def prediction(weights: str, output: Path, config: ExportConfig, build: BuildConfig) -> dict[str, dict[str, Any]]:
    """Headings and facts, only JSON types. Needs no GPU. Raises what `plan_config` and `checked_weights` raise."""
    # Without a GPU and without its name everything but what depends on it can be said.
    nameless = build.capability is None and first_gpu() is None
    plans = None if nameless else plan_config(config, build)
    checked = checked_weights(weights_source(weights), config)
    key = bundle_key(checked, config, plans)
    found = {
        "machine": _machine(plans),
        "made of": {name: short(value) for name, value in key.items() if value},
        "bundle": {"folder": str(output), "key": sha256(key)[:16], "there": _there(output, key)}
        | _sizes(checked, config),
    }
    if "trt" in config.engines:
        found["memory while running, GB"] = {
            f"{size.width_px}x{size.height_px}": _gb(_running_bytes(checked, config, size)) for size in config.profiles
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


def _sizes(checked: Checked, config: ExportConfig) -> dict[str, Any]:
    """What would be in the bundle, and the memory that making it takes."""
    step, vae = _parameters(checked)
    sizes = {}
    if "trt" in config.engines:
        sizes["trt engines, GB"] = _gb(_plan_bytes(step, config) + 2 * _HALF_BYTES * vae + 6 * _KERNELS_BYTES)
    if "onnx" in config.engines:
        sizes["onnx graphs, GB"] = _gb((step + 2 * vae) * (_FULL_BYTES if config.store == "fp32" else _HALF_BYTES))
    if "cuda" in config.engines:
        sizes["cuda weights, GB"] = _gb((step + vae) * (_FULL_BYTES if config.store == "fp32" else _HALF_BYTES))
    ours = _FULL_BYTES * (sum(t.numel() for t in _meta_dit(checked).state_dict().values()) + vae)
    child = _COPIES * _plan_bytes(step, config) if "trt" in config.engines else 0
    traced = _FULL_BYTES * step if "onnx" in config.engines else 0
    return sizes | {"memory while building, GB": _gb(ours + max(child, traced))}


def _running_bytes(checked: Checked, config: ExportConfig, size: Size) -> float:
    """Weights and activations of all engines, and the VAE's caches, of which each step reads one set and writes one."""
    step, vae = _parameters(checked)
    axes, base = window_axes(size, config.window_latents), checked.found.vae_config.base_width
    tokens, pixels = axes.latents * axes.rows * axes.columns, size.width_px * size.height_px
    frames = checked.found.vae_config.latent_frames
    activations = _STEP_BYTES * checked.sizes.width * tokens + 2 * _VAE_BYTES * base * pixels * (frames + 1)
    weights = _plan_bytes(step, config) + 2 * _HALF_BYTES * vae
    return weights + activations + 2 * _HALF_BYTES * _cache_values(checked, size)


def _plan_bytes(step: int, config: ExportConfig) -> float:
    return step * _HALF_BYTES * (_FP8_SHARE if config.precision == "fp8" else 1)


def _meta_dit(checked: Checked) -> BakedDit:
    config = BakedConfig.of(checked.sizes, text_keys=_PROMPT_KEYS, timesteps=1)
    with torch.device("meta"):
        return BakedDit(config)


def _parameters(checked: Checked) -> tuple[int, int]:
    """Of the baked transformer, and of the VAE's two steps."""
    with torch.device("meta"):
        steps = EncoderStep(checked.found.vae_config), DecoderStep(checked.found.vae_config)
    vae = sum(t.numel() for step in steps for t in step.state_dict().values())
    return sum(t.numel() for t in _meta_dit(checked).state_dict().values()), vae


def _cache_values(checked: Checked, size: Size) -> int:
    config = checked.found.vae_config
    with torch.device("meta"):
        frame = torch.empty(1, 3, 1, size.height_px, size.width_px)
        latent = torch.empty(
            1, config.latent_channels, 1, size.height_px // config.latent_px, size.width_px // config.latent_px
        )
        kept = [*EncoderStep(config)(frame)[1:], *DecoderStep(config)(latent)[1:]]
    return sum(cache.numel() for cache in kept)


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
