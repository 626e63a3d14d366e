"""A folder of weights to a bundle: merge, bake, quantise, trace, store, build, verify, and say what it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clear_rt.bundle import FORMAT, PriorSpec, open_bundle
from clear_rt.export.checked import Checked, checked_weights, package_versions
from clear_rt.export.config import ExportConfig
from clear_rt.export.cubins import write_cubins
from clear_rt.export.folder import building
from clear_rt.export.key import Key
from clear_rt.export.networks import Networks, build_plans, load_networks, narrow, quantized, store
from clear_rt.export.plans import PlanConfig, PlanSet
from clear_rt.export.prompt import Prompt, prompt_for
from clear_rt.export.scales import write_scales
from clear_rt.export.steps import StepTables, step_tables
from clear_rt.export.stored import Stored, file_entry
from clear_rt.export.verify import Check
from clear_rt.models.dit import PATCH
from clear_rt.models.weights_folder import WeightsFolder
from clear_rt.version import __version__

Tell = Callable[[str], None]
SCALES = "scales.json"


def export(
    weights: Path,
    target: Path,
    config: ExportConfig,
    tell: Tell = lambda stage: None,
    notes: Mapping[str, Any] | None = None,
    *,
    plans: PlanConfig | None = None,
    key: Key | None = None,
    checked: Checked | None = None,
    verify: bool = False,
) -> dict[str, Any]:
    """Make the bundle `target` from a folder of weights (`find_weights`) and return its manifest.

    `tell(stage)` is called as the work goes on; `notes` stands in the manifest as `training`, `key` as what it was made
    of; `checked` is what was found in `weights` already. `plans` says for whom TensorRT's engines are built, where
    `config` asks for them. With `verify` every engine that can run here is compared with the networks. The bundle
    appears at the end or not at all.

    Raises:
        WeightsError: files missing, damaged, or of another model. BundleError: the bundle that the prior comes from.
        ConfigError: a package that the export needs is not installed, or scales are another model's.
        EngineError: TensorRT builds no engine, or an engine is too far from its network.
        OutputError: the bundle cannot be written.
    """
    packages = package_versions(config)
    checked, tables = checked or checked_weights(weights, config), step_tables(config)
    target = Path(os.path.realpath(target))
    with building(target) as folder:
        tell("prompt")
        prompt = prompt_for(checked.found, config.prompt, config.prompt_file)
        given = open_bundle(config.prior)
        prior = _copied(given.prior, folder / "prior.onnx")
        outliner = None if given.outliner is None else _copied(given.outliner, folder / "outliner.onnx")
        tell("merging and baking")
        networks = load_networks(checked, prompt.embedding, tables.timesteps)
        generator = _described(checked.found, config, prompt, tables) | {"parameters": networks.parameters}
        if config.precision == "fp8":
            tell("calibration")
            networks, scales = quantized(networks, config, checked)
            write_scales(scales, folder / SCALES)
            generator["scales"] = file_entry(folder / SCALES)
        generator |= _stored(networks, config, Stored(folder, config.store), checked.found, tell)
        check = Check(networks, config, checked.found) if verify else None
        if plans is not None and "trt" in config.engines:
            narrow(networks, config)
            generator["plans"] = _planned(networks, config, plans, folder, prior, tell)
            generator |= _compiled(plans, config, checked, folder, tell)
        manifest = {
            "format": FORMAT,
            "name": target.name,
            "engines": list(config.engines),
            "prior": prior,
            "outliner": outliner,
            "generator": generator,
            "built": {
                "clear_rt": __version__,
                "commit": _commit(),
                "stored": config.store,
                **packages,
                **checked.adapter_built,
            },
        }
        manifest |= {name: value for name, value in (("key", key), ("training", notes)) if value is not None}
        _write(manifest, folder)
        # Whatever we write, we can read: a fault here must not replace a bundle that works.
        bundle = open_bundle(folder)
        if check is not None:
            tell("verification")
            manifest["verified"] = check.bundle(bundle, networks)
            _write(manifest, folder)
    return manifest


def _write(manifest: Mapping[str, Any], folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _stored(
    networks: Networks, config: ExportConfig, stored: Stored, found: WeightsFolder, tell: Tell
) -> dict[str, Any]:
    store(networks, config, stored, found.vae_config, tell)
    return {"graphs": stored.graphs, "weights": stored.weights, "models": stored.models}


def _planned(
    networks: Networks, config: ExportConfig, plans: PlanConfig, folder: Path, prior: Mapping[str, Any], tell: Tell
) -> dict[str, Any]:
    """The manifest's entry of TensorRT's engines: for whom they were built, and their files by role."""
    built = PlanSet(folder, config.profiles, config.window_latents, plans, tell)
    build_plans(networks, config, built, tell)
    built.add_prior(folder / prior["file"], prior["short_side_px"], prior["multiple_px"])
    return {
        "library": plans.library.module,
        "version": plans.library.version,
        "cuda": plans.library.cuda,
        "capability": plans.capability,
        "precision": config.precision,
        "files": built.entries,
    }


def _compiled(
    plans: PlanConfig, config: ExportConfig, checked: Checked, folder: Path, tell: Tell
) -> dict[str, dict[str, Any]]:
    """The manifest's entry of our own kernels beside TensorRT's engines; nothing where there is no Triton."""
    tell("kernels")
    half = "fp16" if config.precision == "fp16" else "bf16"
    capabilities = (plans.capability, *plans.more_capabilities)
    entry = write_cubins(folder, capabilities, half, checked.sizes.head_width)
    return {} if entry is None else {"kernels": entry}


def _copied(spec: PriorSpec, path: Path) -> dict[str, Any]:
    """The prior or the outliner of another bundle, written to `path`, and its entry."""
    path.write_bytes(spec.graph)
    sizes = {name: getattr(spec, name) for name in ("short_side_px", "multiple_px", "parameters")}
    return file_entry(path) | sizes


def _described(found: WeightsFolder, config: ExportConfig, prompt: Prompt, tables: StepTables) -> dict[str, Any]:
    vae = found.vae_config
    return {
        "latent_channels": vae.latent_channels,
        "latent_px": vae.latent_px,
        "latent_frames": vae.latent_frames,
        "multiple_px": vae.latent_px * PATCH[1],
        "max_pixels": config.max_pixels,
        "profiles": [list(size) for size in config.profiles],
        "window_latents": config.window_latents,
        "overlap_latents": config.overlap_latents,
        "latents_fixed": "trt" in config.engines,
        "draft": config.draft,
        "shift": config.shift,
        "default_steps": config.steps,
        "timesteps": list(tables.timesteps),
        "steps": tables.manifest,
        "prompt": " ".join(prompt.text.split()),
        "precision": "fp8" if config.precision == "fp8" else "fp32",
    }


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return "unknown"
    commit = _said(git, "-C", str(root), "rev-parse", "HEAD")
    changed = _said(git, "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if changed else commit or "unknown"


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
