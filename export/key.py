"""What a bundle was made of, field by field: the same is not built twice, and of another is said what differs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import clear_rt
from clear_rt.bundle import FORMAT, open_bundle
from clear_rt.errors import ConfigError
from clear_rt.export.checked import Checked, package_versions
from clear_rt.export.config import ExportConfig
from clear_rt.export.file_digests import digest
from clear_rt.export.plans import PlanConfig
from clear_rt.export.prompt import PRESETS, preset, read_prompt, serves
from clear_rt.models.config_json import as_json
from clear_rt.version import __version__

_PACKAGE = Path(clear_rt.__file__).parent
_ROOMS = (".", "export", "kernels", "models")
# Modules that change nothing in a bundle.
_APART = re.compile(r"fetch|prediction|verify|plan_runner|build|key|file_digests|commands|cli|console|prose|progress")

Key = dict[str, str]


def bundle_key(checked: Checked, config: ExportConfig, plans: PlanConfig | None) -> Key:
    """Everything that decides the bytes of a bundle, by the name of what a user would have to change.

    Raises ConfigError where a file that was named cannot be read, or a package is missing, BundleError for a prior that
    is none.
    """
    found = checked.found
    key = {
        "weights": _joined(map(digest, (*found.dit, found.vae))),
        "sizes": _hashed([as_json(checked.sizes), as_json(found.vae_config)]),
        "lora": _joined(f"{digest(path)} x {scale!r}" for path, scale in config.adapters),
        "prompt": _prompt(checked, config),
        "steps": f"{config.steps} of {list(config.all_step_counts)}, {config.timesteps}, shift {config.shift!r}",
        "shapes": _shapes(config),
        "precision": f"{_precision(config)}, stored as {config.store}",
        "scales": _scales(config),
        "prior": _prior(config.prior),
        "engines": ", ".join(config.engines),
        "code": _code(),
        "packages": json.dumps(package_versions(config), sort_keys=True),
    }
    return key | ({} if plans is None else _chip(checked, config, plans))


def _prior(folder: Path | None) -> str:
    """Of what finds text and, where the bundle has it, of what outlines it."""
    bundle = open_bundle(folder)
    return _joined(hashlib.sha256(spec.graph).hexdigest() for spec in (bundle.prior, bundle.outliner) if spec)


def sha256(key: Mapping[str, str]) -> str:
    return _hashed(dict(key))


def differing(key: Mapping[str, str], other: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which two keys differ."""
    return [name for name in sorted(key.keys() | other.keys()) if key.get(name) != other.get(name)]


def short(value: object) -> str:
    """A field for people: hashes by their first figures."""
    return re.sub(r"[0-9a-f]{64}", lambda found: found[0][:12], str(value))


def _chip(checked: Checked, config: ExportConfig, plans: PlanConfig) -> Key:
    key = {
        "gpu": f"sm_{plans.capability}",
        "library": plans.library.title,
        "cuda": plans.library.cuda,
        "builder": f"level {plans.level}, workspace {plans.workspace_bytes}",
    }
    plugged = checked.sizes.occlusion and not plans.library.is_rtx
    return key | ({"plugin": _plugin(checked, config, plans.capability)} if plugged else {})


def _plugin(checked: Checked, config: ExportConfig, capability: int) -> str:
    """TensorRT's timing cache cannot tell two versions of a plugin apart; this can."""
    try:
        from clear_rt.export.plugin_ptx import plugin_kernel
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"occlusion-weighted attention under TensorRT needs {error.name}, which is not installed; run pip install "
            "'clear-rt[cuda]'"
        ) from None
    dtype = "fp16" if config.precision == "fp16" else "bf16"
    return plugin_kernel(capability, dtype, checked.sizes.head_width).sha256


def _prompt(checked: Checked, config: ExportConfig) -> str:
    """Of a stored embedding its hash, else the text and what encodes it."""
    found, text = checked.found, preset(config.prompt)
    if config.prompt_file is not None:
        return _named(config.prompt_file, "--prompt-file")
    if found.prompt is not None and serves(read_prompt(found.prompt), text):
        return digest(found.prompt)
    encoder = [] if found.text_encoder is None else [digest(found.text_encoder)]
    tokenizer = [] if found.tokenizer is None else sorted(p for p in found.tokenizer.rglob("*") if p.is_file())
    return _joined([_hashed(text or PRESETS["train"]), *encoder, *map(digest, tokenizer)])


def _shapes(config: ExportConfig) -> str:
    window = f"windows of {config.window_latents} latents, {config.overlap_latents} shared"
    sizes = ", ".join(f"{width}x{height}" for width, height in config.profiles)
    return f"{window}, {sizes or f'{config.max_pixels} pixels at most'}{', of drafts' * config.draft}"


def _precision(config: ExportConfig) -> str:
    """Only TensorRT's engines have another than fp32, but for FP8."""
    if config.precision == "fp8":
        return f"fp8{' with attention' * config.fp8_attention}"
    return config.precision if "trt" in config.engines else "fp32"


def _scales(config: ExportConfig) -> str:
    if config.precision != "fp8":
        return ""
    if config.scales is not None:
        return _named(config.scales, "--scales")
    return _joined(_named(clip, "--calibrate") for clip in config.clips)


def _named(path: Path, option: str) -> str:
    try:
        return digest(path)
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be read ({error.strerror or error}); check the path") from None


def _code() -> str:
    files = [path for room in _ROOMS for path in (_PACKAGE / room).glob("*.py")]
    files.append(_PACKAGE / "kernels" / "tiles.json")
    sources = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files if not _APART.match(path.stem))
    return f"{__version__} {FORMAT} {_hashed(sources)[:16]}"


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _hashed(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
