"""Where the files of a model lie in a folder, as Wan or diffusers lay them out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clear_rt.errors import ConfigError, WeightsError
from clear_rt.models.config_json import from_json
from clear_rt.models.dit_config import WAN_FUN_CONTROL, DitConfig
from clear_rt.models.vae_config import WAN_VAE, VaeConfig

SHARDS = "diffusion_pytorch_model*.safetensors"
VAE_FILES = ("Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors", "vae.safetensors")
DIFFUSERS_VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT_ENCODER = "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER = "google/umt5-xxl"
PROMPT_FILE = "prompt.safetensors"
CONFIG_FILE = "config.json"


@dataclass(frozen=True, slots=True)
class WeightsFolder:
    """The files found. `dit` holds one file or all shards; one of `prompt` or the text encoder's two may be absent."""

    dit: tuple[Path, ...]
    vae: Path
    prompt: Path | None
    text_encoder: Path | None
    tokenizer: Path | None
    dit_config: DitConfig
    vae_config: VaeConfig


def find_weights(folder: Path) -> WeightsFolder:
    """Finds transformer, VAE and prompt in a Wan or a diffusers folder; sizes from our config.json, else the real ones.

    Raises WeightsError where files are missing, ConfigError for a config.json that does not describe both models.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: expected a folder of weights, found none; check the path")
    nested = (folder / "transformer").is_dir()
    shards = sorted((folder / "transformer" if nested else folder).glob(SHARDS))
    if not shards:
        raise WeightsError(
            f"{folder}: expected the transformer as {SHARDS} in it (Wan) or in transformer/ (diffusers), found none"
        )
    vae = _first(folder, (DIFFUSERS_VAE, *VAE_FILES) if nested else VAE_FILES)
    if vae is None:
        expected = ", ".join((*VAE_FILES, DIFFUSERS_VAE))
        raise WeightsError(f"{folder}: expected the VAE as one of {expected}, found none of them")
    dit_config, vae_config = _configs(folder / CONFIG_FILE)
    return WeightsFolder(
        dit=tuple(shards),
        vae=vae,
        prompt=_first(folder, (PROMPT_FILE,)),
        text_encoder=_first(folder, (TEXT_ENCODER,)),
        tokenizer=_first(folder, (TOKENIZER,)),
        dit_config=dit_config,
        vae_config=vae_config,
    )


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _configs(path: Path) -> tuple[DitConfig, VaeConfig]:
    if not path.exists():
        return WAN_FUN_CONTROL, WAN_VAE
    try:
        described: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: expected JSON ({error}); remove it to get the sizes of Wan") from error
    # Released Wan folders carry a config.json of their own, in the words of their own code.
    if isinstance(described, dict) and "_class_name" in described:
        return WAN_FUN_CONTROL, WAN_VAE
    if not isinstance(described, dict) or described.keys() != {"dit", "vae"}:
        found = ", ".join(described) if isinstance(described, dict) else type(described).__name__
        raise ConfigError(f"{path}: expected an object with dit and vae, found {found or 'nothing'}; remove or mend it")
    try:
        return from_json(DitConfig, described["dit"]), from_json(VaeConfig, described["vae"])
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
