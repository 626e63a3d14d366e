"""The `cuda` engine: the baked model in torch. Where torch sees no GPU it runs on the CPU, as a second opinion."""

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
from clear_rt.errors import BundleError, EngineError
from clear_rt.models.baked import BakedConfig, BakedDit
from clear_rt.models.config_json import from_json
from clear_rt.models.vae_config import VaeConfig
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.engine import Caches, Floats
from clear_rt.runtime.onnx_prior import OnnxPrior

Module = TypeVar("Module", bound=nn.Module)


def sees_gpu() -> bool:
    """Whether torch can use a GPU here."""
    return torch.cuda.is_available()


class TorchEngine:
    """The networks of a bundle as modules on one device; the prior stays on ONNX Runtime.

    Raises:
        BundleError: the weights do not fit the sizes that the manifest names.
        EngineError: the bundle holds no generator, or a network fails, most likely for want of memory.
    """

    name = "cuda"

    def __init__(self, bundle: Bundle) -> None:
        if bundle.generator is None:
            raise EngineError(f"--engine cuda: bundle {bundle.name} holds no generative model; use --engine onnx")
        self._prior = OnnxPrior(bundle.prior)
        self._device = torch.device("cuda" if sees_gpu() else "cpu")
        self._dit = _dit(bundle.generator, self._device)
        self._encoder, self._decoder = _vae(bundle.generator, self._device)

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`."""
        return self._prior(rgb)

    def encode(self, frames: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.encode`."""
        latent, *kept = self._ran(self._encoder, self._tensor(frames), *(caches or ()))
        return _array(latent[0, :, 0]), kept

    def decode(self, latent: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.decode`."""
        frames, *kept = self._ran(self._decoder, self._tensor(latent)[:, :, None], *(caches or ()))
        return _array(frames[0]), kept

    def control(self, latents: Floats) -> Tensor:
        """As `Engine.control`."""
        tokens: Tensor = self._ran(self._dit.control, self._tensor(latents))
        return tokens

    def velocity(self, latents: Floats, control: Tensor, row: int) -> Floats:
        """As `Engine.velocity`."""
        found = self._ran(self._dit, self._tensor(latents), control, torch.tensor(row, device=self._device))
        return _array(found[0])

    def _tensor(self, array: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)[None]

    @torch.inference_mode()
    def _ran(self, network: Callable[..., Any], *inputs: Tensor) -> Any:  # noqa: ANN401 - what the network returns
        try:
            return network(*inputs)
        except RuntimeError as error:
            raise EngineError(
                f"--engine cuda failed on {[*inputs[0].shape]} ({str(error).splitlines()[0]}); "
                "use a smaller --region or --engine onnx"
            ) from None


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array


def _dit(spec: GeneratorSpec, device: torch.device) -> BakedDit:
    with torch.device("meta"):
        dit = BakedDit(from_json(BakedConfig, spec.models["dit"]))
    state = _weights(spec.weights["dit"], device)
    _filled(dit, state, spec.weights["dit"])
    return dit.place_turns(dit.time).eval()


def _vae(spec: GeneratorSpec, device: torch.device) -> tuple[EncoderStep, DecoderStep]:
    config, state = from_json(VaeConfig, spec.models["vae"]), _weights(spec.weights["vae"], device)
    with torch.device("meta"):
        encoder, decoder = EncoderStep(config), DecoderStep(config)
    parts = [{name: state.pop(name) for name in step.state_dict() if name in state} for step in (encoder, decoder)]
    for step, part in zip((encoder, decoder), parts, strict=True):
        _filled(step, part | state, spec.weights["vae"])
    return encoder, decoder


def _weights(path: Path, device: torch.device) -> dict[str, Tensor]:
    try:
        return load_file(path, str(device))
    except Exception as error:  # noqa: BLE001 - safetensors raises a class of its own for every kind of damage
        raise BundleError(f"{path} is no safetensors file ({error}); build the bundle again") from None


def _filled(module: Module, state: dict[str, Tensor], path: Path) -> Module:
    try:
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise BundleError(
            f"{path} does not fit the sizes in manifest.json ({reason}); build the bundle again"
        ) from None
    module.requires_grad_(False).eval()
    return module
