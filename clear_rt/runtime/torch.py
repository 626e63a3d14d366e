"""The `cuda` engine by torch alone, in float32: on a GPU or on the CPU, as a second opinion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from clear_rt.bundle import Bundle, GeneratorSpec
from clear_rt.errors import BundleError, ConfigError, EngineError
from clear_rt.models.baked import BakedConfig, BakedDit
from clear_rt.models.config_json import from_json
from clear_rt.models.fp8 import E4M3, empty_fp8, fp8_names
from clear_rt.models.vae_config import VaeConfig
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.onnx_prior import OnnxPrior
from clear_rt.runtime.torch_networks import TorchNetworks, short

Module = TypeVar("Module", bound=nn.Module)


class TorchEngine(TorchNetworks):
    """The networks of a bundle as modules on one device; the prior stays on ONNX Runtime.

    Raises:
        BundleError: the weights do not fit the sizes that the manifest names.
        EngineError: the bundle holds no generator, or a network fails.
    """

    name = "cuda"

    def __init__(self, bundle: Bundle) -> None:
        if bundle.generator is None:
            raise EngineError(f"--engine cuda: bundle {bundle.name} holds no generative model; use --engine onnx")
        self._prior = OnnxPrior(bundle.prior)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        super().__init__(load_dit(bundle.generator, device), *load_vae(bundle.generator, device))

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`."""
        return self._prior.occlusion(rgb)


def load_dit(spec: GeneratorSpec, device: torch.device) -> BakedDit:
    """The transformer of a bundle, float32 but for what is in FP8. Raises BundleError where the weights do not fit."""
    path = spec.weights["dit"]
    dit = _built(BakedDit, BakedConfig, spec.models["dit"], path)
    config, rows = dit.config, 1 + max(row for table in spec.step_tables.values() for row in table.rows)
    if config.latent_channels != spec.latent_channels or config.timesteps < rows:
        raise BundleError(
            f"{path.parent}: expected a transformer of {spec.latent_channels} channels and {rows} timesteps or more, "
            f"found {config.latent_channels} and {config.timesteps} in manifest.json; build the bundle again"
        )
    state = _weights(path, device)
    empty_fp8(dit, [name for name in fp8_names(state) if _has_fp8(dit, name)])
    _filled(dit, state, path)
    return dit.place_turns(dit.time).eval()


def _has_fp8(dit: BakedDit, name: str) -> bool:
    """Whether there is a module that has a form in FP8; of other names loading tells."""
    return isinstance(dict(dit.named_modules()).get(name), (nn.Linear, nn.Identity))


def load_vae(spec: GeneratorSpec, device: torch.device) -> tuple[EncoderStep, DecoderStep]:
    """Both steps of a bundle's VAE in float32. Raises BundleError where the weights do not fit."""
    path, sizes = spec.weights["vae"], spec.models["vae"]
    encoder, decoder = _built(EncoderStep, VaeConfig, sizes, path), _built(DecoderStep, VaeConfig, sizes, path)
    state = _weights(path, device)
    parts = [{name: state.pop(name) for name in step.state_dict() if name in state} for step in (encoder, decoder)]
    for step, part in zip((encoder, decoder), parts, strict=True):
        _filled(step, part | state, path)
    return encoder, decoder


def _built(kind: Callable[[Any], Module], sizes: type[Any], described: object, path: Path) -> Module:
    """A network of the sizes in the manifest, without weights."""
    try:
        with torch.device("meta"):
            return kind(from_json(sizes, described))
    except (ConfigError, RuntimeError, ArithmeticError) as error:
        raise BundleError(
            f"{path.parent}: manifest.json describes no network for {path.name} ({short(error)}); "
            "build the bundle again"
        ) from None


def _weights(path: Path, device: torch.device) -> dict[str, Tensor]:
    try:
        # Some bundles store fp16; nothing computes with it here.
        loaded = load_file(path, str(device)).items()
        return {name: tensor if tensor.dtype == E4M3 else tensor.float() for name, tensor in loaded}
    except Exception as error:  # noqa: BLE001 - safetensors raises a class of its own for every kind of damage
        raise BundleError(f"{path} is no safetensors file ({short(error)}); build the bundle again") from None


def _filled(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise BundleError(
            f"{path} does not fit the sizes in manifest.json ({short(error)}); build the bundle again"
        ) from None
    module.requires_grad_(False).eval()
