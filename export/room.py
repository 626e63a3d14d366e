"""What a bundle takes: on disk, on the GPU while it runs, in memory while it is made; and whether there is room for it.

Sizes follow from the networks'. The factors are what TensorRT-RTX 1.7.1 reported of engines at the real size
(benchmarks/real_size_engines.py, docs/ENGINES.md), which are within a tenth of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from clear_rt.errors import EngineError, OutputError
from clear_rt.export.checked import Checked
from clear_rt.export.config import ExportConfig
from clear_rt.export.plans import PlanConfig, window_axes
from clear_rt.models.baked import BakedConfig, BakedDit
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.device import first_gpu
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


def require_room(target: Path, checked: Checked, config: ExportConfig, plans: PlanConfig | None) -> None:
    """Raises OutputError where the disk is too small for the bundle, EngineError where the GPU is for its engines."""
    needed = sum(bundle_bytes(checked, config).values())
    folder = next(place for place in target.absolute().parents if place.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{target} will take about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {folder}; "
            "make room, or give another -o"
        )
    gpu = first_gpu() if plans is not None and plans.is_here else None
    for size in config.profiles if gpu is not None else ():
        running = running_bytes(checked, config, size)
        if gpu is not None and running > gpu.memory_bytes:
            raise EngineError(
                f"engines for {size.width_px}x{size.height_px} will take about {running / 1e9:.1f} GB while they run, "
                f"and {gpu.name} has {gpu.memory_bytes / 1e9:.1f}; name a smaller --profile, or --precision fp8"
            )


def bundle_bytes(checked: Checked, config: ExportConfig) -> dict[str, float]:
    """What each engine takes on disk, by name."""
    step, vae = _parameters(checked)
    stored = _FULL_BYTES if config.store == "fp32" else _HALF_BYTES
    found = {}
    if "trt" in config.engines:
        found["trt engines"] = _plan_bytes(step, config) + 2 * _HALF_BYTES * vae + 6 * _KERNELS_BYTES
    if "onnx" in config.engines:
        found["onnx graphs"] = float((step + 2 * vae) * stored)
    if "cuda" in config.engines:
        found["cuda weights"] = float((step + vae) * stored)
    return found


def building_bytes(checked: Checked, config: ExportConfig) -> float:
    """Memory that making the bundle takes at its peak."""
    step, vae = _parameters(checked)
    ours = _FULL_BYTES * (sum(t.numel() for t in _meta_dit(checked).state_dict().values()) + vae)
    child = _COPIES * _plan_bytes(step, config) if "trt" in config.engines else 0
    traced = _FULL_BYTES * step if "onnx" in config.engines else 0
    return ours + max(child, traced)


def running_bytes(checked: Checked, config: ExportConfig, size: Size) -> float:
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
