"""A folder of weights to a bundle: merge, bake, trace, store, and say in the manifest what it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clear_rt.bundle import FORMAT, open_bundle
from clear_rt.errors import ConfigError
from clear_rt.export.bake import bake
from clear_rt.export.config import ExportConfig
from clear_rt.export.folder import building
from clear_rt.export.merge import check_adapter, has_occlusion, merge_adapter
from clear_rt.export.prompt import Prompt, prompt_for
from clear_rt.export.steps import StepTables, step_tables
from clear_rt.export.stored import Stored, file_entry
from clear_rt.export.to_onnx import control_graph, decoder_graphs, encoder_graphs, step_graph
from clear_rt.models.baked import BakedDit
from clear_rt.models.checkpoint import Checkpoint, open_checkpoint
from clear_rt.models.config_json import as_json
from clear_rt.models.dit import PATCH
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.models.weights import dit_state, load_dit, load_vae, vae_state
from clear_rt.models.weights_folder import WeightsFolder, find_weights
from clear_rt.version import __version__

Tell = Callable[[str], None]


def export(
    weights: Path,
    target: Path,
    config: ExportConfig,
    tell: Tell = lambda stage: None,
    notes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the bundle `target` from a folder of weights (`find_weights`) and return its manifest.

    `tell(stage)` is called as the work goes on; `notes` stands in the manifest as `training`. The bundle appears at the
    end or not at all.

    Raises:
        WeightsError: files missing, damaged, or of another model. BundleError: the bundle that the prior comes from.
        ConfigError: a package that the export needs is not installed. OutputError: the bundle cannot be written.
    """
    packages = _versions(config)
    checked, tables = _checked(weights, config), step_tables(config)
    target = Path(os.path.realpath(target))
    with building(target) as folder:
        tell("prompt")
        prompt = prompt_for(checked.found, config.prompt)
        stored = Stored(folder, config.store)
        prior = _copied_prior(config.prior, folder)
        tell("VAE")
        parameters = _export_vae(checked.found, config, stored)
        tell("transformer")
        parameters += _export_dit(checked, config, prompt, tables, stored)
        generator = _described(checked.found, config, prompt, tables) | {
            "parameters": parameters,
            "graphs": stored.graphs,
            "weights": stored.weights,
            "models": stored.models,
        }
        manifest = {
            "format": FORMAT,
            "name": target.name,
            "engines": list(config.engines),
            "prior": prior,
            "generator": generator,
            "built": {
                "clear_rt": __version__,
                "commit": _commit(),
                "stored": config.store,
                **packages,
                **checked.adapter_built,
            },
        }
        if notes is not None:
            manifest["training"] = notes
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        # Whatever we write, we can read: a fault here must not replace a bundle that works.
        open_bundle(folder)
    return manifest


@dataclass(frozen=True, slots=True)
class _Checked:
    """Files whose tensors have the right names and shapes, and the sizes with an occlusion head where one was found."""

    found: WeightsFolder
    sizes: DitConfig
    adapter: Checkpoint | None
    adapter_built: dict[str, str]


def _checked(weights: Path, config: ExportConfig) -> _Checked:
    """Everything that headers tell, before anything that takes minutes."""
    found = find_weights(weights)
    _check_channels(found, weights)
    base, adapter = open_checkpoint(found.dit), None if config.adapter is None else open_checkpoint(config.adapter)
    sizes = replace(found.dit_config, occlusion=any(has_occlusion(c) for c in (base, adapter) if c is not None))
    dit_state(base, sizes)
    vae_state(open_checkpoint(found.vae), found.vae_config)
    if config.adapter is None or adapter is None:
        return _Checked(found, sizes, None, {})
    merged, entry = check_adapter(sizes, adapter), file_entry(config.adapter)
    said = f"{merged.linears} linears of rank {merged.rank}{', occlusion head' if merged.occlusion else ''}"
    built = f"{entry['file']} (sha256 {entry['sha256']}), scale {config.lora_scale:g}, {said}"
    return _Checked(found, sizes, adapter, {"adapter": built})


def _versions(config: ExportConfig) -> dict[str, str]:
    """Versions of the packages that these engines' exports use. Raises ConfigError where one is missing."""
    packages = ["torch", "safetensors", *(("onnx", "onnxscript") if "onnx" in config.engines else ())]
    try:
        return {name: version(name) for name in packages}
    except PackageNotFoundError as error:
        raise ConfigError(
            f"clear-rt export needs {error.name}, which is not installed; run pip install 'clear-rt[export]'"
        ) from None


def _check_channels(found: WeightsFolder, weights: Path) -> None:
    transformer, vae = found.dit_config.latent_channels, found.vae_config.latent_channels
    if transformer != vae:
        raise ConfigError(
            f"{weights}: expected transformer and VAE of one latent size, found {transformer} and {vae} channels; "
            "mend config.json or use files that belong together"
        )


def _copied_prior(source: Path | None, folder: Path) -> dict[str, Any]:
    """The occlusion prior of another bundle and its entry."""
    prior = open_bundle(source).prior
    path = folder / "prior.onnx"
    path.write_bytes(prior.graph)
    sizes = {name: getattr(prior, name) for name in ("short_side_px", "multiple_px", "parameters")}
    return file_entry(path) | sizes


def _export_vae(found: WeightsFolder, config: ExportConfig, stored: Stored) -> int:
    vae = load_vae(found.vae, found.vae_config)
    encoder, decoder = EncoderStep.folded(vae), DecoderStep.folded(vae)
    if "onnx" in config.engines:
        for role, program in (encoder_graphs(encoder) | decoder_graphs(decoder)).items():
            stored.add_graph(role, program)
    state = encoder.state_dict() | decoder.state_dict()
    if "cuda" in config.engines:
        stored.add_weights("vae", state, as_json(found.vae_config))
    return sum(tensor.numel() for tensor in state.values())


def _export_dit(checked: _Checked, config: ExportConfig, prompt: Prompt, tables: StepTables, stored: Stored) -> int:
    dit = _baked(checked, config, prompt, tables)
    if "onnx" in config.engines:
        stored.add_graph("control", control_graph(dit))
        stored.add_graph("step", step_graph(dit))
    if "cuda" in config.engines:
        stored.add_weights("dit", dit.state_dict(), as_json(dit.config))
    return sum(tensor.numel() for tensor in dit.state_dict().values())


def _baked(checked: _Checked, config: ExportConfig, prompt: Prompt, tables: StepTables) -> BakedDit:
    dit = load_dit(checked.found.dit, checked.sizes)
    if checked.adapter is not None:
        merge_adapter(dit, checked.adapter, config.lora_scale)
    return bake(dit, prompt.embedding, tables.timesteps)


def _described(found: WeightsFolder, config: ExportConfig, prompt: Prompt, tables: StepTables) -> dict[str, Any]:
    vae = found.vae_config
    return {
        "latent_channels": vae.latent_channels,
        "latent_px": vae.latent_px,
        "latent_frames": vae.latent_frames,
        "multiple_px": vae.latent_px * PATCH[1],
        "max_pixels": config.max_pixels,
        "profiles": [],
        "window_latents": config.window_latents,
        "overlap_latents": config.overlap_latents,
        "latents_fixed": False,
        "draft": config.draft,
        "shift": config.shift,
        "default_steps": config.steps,
        "timesteps": list(tables.timesteps),
        "steps": tables.manifest,
        "prompt": " ".join(prompt.text.split()),
        "precision": "fp32",
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
