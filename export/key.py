"""What a bundle was made of, field by field: the same is not built twice, and of another is said what differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clear_rt.bundle import EMBEDDED
from clear_rt.export.checked import Checked, package_versions
from clear_rt.export.config import ExportConfig
from clear_rt.export.file_digests import digest
from clear_rt.export.plans import PlanConfig
from clear_rt.models.config_json import as_json
from clear_rt.version import __version__

HEAD_WIDTHS = (64, 128)
_ROOT = Path(__file__).resolve().parent.parent
# The rooms whose code decides what is in a bundle.
_ROOMS = ("export", "kernels", "clear_rt/models", "clear_rt/export", "clear_rt/kernels", "models")

Key = dict[str, str]


def bundle_key(checked: Checked, config: ExportConfig, plans: PlanConfig | None) -> Key:
    """Everything that decides the bytes of a bundle, by the name of what a user would have to change."""
    found = checked.found
    key = {
        "weights": _joined(map(digest, (*found.dit, found.vae))),
        "sizes": _hashed([as_json(checked.sizes), as_json(found.vae_config)]),
        "lora": _joined(f"{digest(path)} x {scale:g}" for path, scale in config.adapters),
        "prompt": _prompt(checked, config),
        "steps": f"{config.steps} of {list(config.all_step_counts)}, {config.timesteps}, shift {config.shift:g}",
        "shapes": _shapes(config),
        "precision": f"{config.precision}{' with attention' * config.fp8_attention}, stored as {config.store}",
        "scales": _scales(config),
        "prior": digest((config.prior or EMBEDDED) / "manifest.json"),
        "engines": ", ".join(config.engines),
        "code": _code(),
        "packages": json.dumps(package_versions(config), sort_keys=True),
    }
    return key | ({} if plans is None else _chip(plans))


def sha256(key: Mapping[str, str]) -> str:
    return _hashed(dict(key))


def differing(key: Mapping[str, str], other: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which two keys differ."""
    return [name for name in sorted(key.keys() | other.keys()) if key.get(name) != other.get(name)]


def _chip(plans: PlanConfig) -> Key:
    return {
        "gpu": f"sm_{plans.capability}",
        "library": plans.library.title,
        "cuda": plans.library.cuda,
        "builder": f"level {plans.level}, workspace {plans.workspace_bytes}",
    } | ({} if plans.library.is_rtx else {"plugin": _plugin(plans.capability)})


def _plugin(capability: int) -> str:
    """TensorRT's timing cache cannot tell two versions of a plugin apart; this can."""
    from clear_rt.export.plugin_ptx import plugin_kernel

    return _joined(
        plugin_kernel(capability, dtype, width).sha256 for dtype in ("bf16", "fp16") for width in HEAD_WIDTHS
    )


def _prompt(checked: Checked, config: ExportConfig) -> str:
    if config.prompt_file is not None:
        return f"{digest(config.prompt_file)} {config.prompt or ''}"
    stored = checked.found.prompt
    return f"{'' if stored is None else digest(stored)} {config.prompt or ''}"


def _shapes(config: ExportConfig) -> str:
    window = f"windows of {config.window_latents} latents, {config.overlap_latents} shared"
    sizes = ", ".join(f"{width}x{height}" for width, height in config.profiles)
    return f"{window}, {sizes or f'{config.max_pixels} pixels at most'}"


def _scales(config: ExportConfig) -> str:
    if config.precision != "fp8":
        return ""
    return digest(config.scales) if config.scales is not None else _joined(map(digest, config.clips))


def _code() -> str:
    folders = [_ROOT / room for room in _ROOMS if (_ROOT / room).is_dir()]
    files = {path.resolve() for folder in folders for path in folder.iterdir() if path.suffix in (".py", ".json")}
    sources = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return f"{__version__} {_hashed(sources)[:16]}"


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _hashed(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
