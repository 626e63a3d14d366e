"""What training has left, as the folder that `clear-rt export` takes: one layout for it and for released weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from clear_rt.export.prompt import P_TRAIN, write_prompt
from clear_rt.models.config_json import as_json
from clear_rt.models.dit_config import DitConfig
from training.flow import prompt_embedding


def write_weights(folder: Path, dit: Path, sizes: DitConfig, vae_run: Path) -> None:
    """Transformer, VAE, prompt and config.json; `vae_run` is the folder of a VAE's training."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(dit, folder / "diffusion_pytorch_model.safetensors")
    shutil.copyfile(vae_run / "vae.safetensors", folder / "vae.safetensors")
    write_prompt(folder / "prompt.safetensors", P_TRAIN, prompt_embedding(sizes.text_width))
    config = {"dit": as_json(sizes), **json.loads((vae_run / "vae.json").read_text())}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
