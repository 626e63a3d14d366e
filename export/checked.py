"""Everything about weights that headers tell, before anything that takes minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from clear_rt.errors import ConfigError
from clear_rt.export.config import ExportConfig, lacking
from clear_rt.export.file_digests import digest
from clear_rt.export.merge import Merged, check_adapters, has_occlusion
from clear_rt.models.checkpoint import Checkpoint, open_checkpoint
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.weights import dit_state, vae_state
from clear_rt.models.weights_folder import WeightsFolder, find_weights


@dataclass(frozen=True, slots=True)
class Checked:
    """Files whose tensors have the right names and shapes; `sizes` with an occlusion head where one was found."""

    found: WeightsFolder
    sizes: DitConfig
    adapters: tuple[tuple[Checkpoint, float], ...]
    adapter_built: dict[str, str]


def checked_weights(weights: Path, config: ExportConfig) -> Checked:
    """The files of a folder of weights and the adapters for it.

    Raises WeightsError for files that are missing, damaged or of another model, ConfigError where transformer and VAE
    do not go together.
    """
    found = find_weights(weights)
    _check_channels(found, weights)
    base = open_checkpoint(found.dit)
    adapters = tuple((open_checkpoint(path), scale) for path, scale in config.adapters)
    sizes = replace(found.dit_config, occlusion=any(map(has_occlusion, (base, *(one for one, _ in adapters)))))
    dit_state(base, sizes)
    vae_state(open_checkpoint(found.vae), found.vae_config)
    merged = check_adapters(sizes, [checkpoint for checkpoint, _ in adapters])
    said = [_described(path, scale, one) for (path, scale), one in zip(config.adapters, merged, strict=True)]
    return Checked(found, sizes, adapters, {"adapter": "; ".join(said)} if said else {})


def _described(path: Path, scale: float, merged: Merged) -> str:
    head = ", occlusion head" if merged.occlusion else ""
    said = f"{merged.linears} linears of rank {merged.rank}{head}"
    return f"{path.name} (sha256 {digest(path)}), scale {scale:g}, {said}"


def package_versions(config: ExportConfig) -> dict[str, str]:
    """Versions of the packages that these engines' exports use. Raises ConfigError where one is missing."""
    packages = ["torch", "safetensors", *(("onnx", "onnxscript") if {"onnx", "trt"} & {*config.engines} else ())]
    packages += ["nvidia-modelopt"] if config.precision == "fp8" and config.scales is None else []
    try:
        return {name: version(name) for name in packages}
    except PackageNotFoundError as error:
        raise lacking(error.name) from None


def _check_channels(found: WeightsFolder, weights: Path) -> None:
    transformer, vae = found.dit_config.latent_channels, found.vae_config.latent_channels
    if transformer != vae:
        raise ConfigError(
            f"{weights}: expected transformer and VAE of one latent size, found {transformer} and {vae} channels; "
            "mend config.json or use files that belong together"
        )
