"""Networks of the real size with random weights, made on a GPU: what speed is measured with.

Speed does not depend on what weights say. What enters and leaves layers is of the size of real activations, so that
errors of a precision are about those of real weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks.random_weights import PROMPT_TOKENS
from benchmarks.seen_inputs import largest_inputs
from clear_rt.bundle import Bundle, open_bundle
from clear_rt.export.calibration import generator_spec
from clear_rt.export.config import ExportConfig
from clear_rt.export.quantize import in_fp8
from clear_rt.export.scales import Scales
from clear_rt.models.baked import BakedConfig, BakedDit
from clear_rt.models.dit_config import WAN_FUN_CONTROL
from clear_rt.models.fp8_policy import Fp8Policy, quantized_linears
from clear_rt.models.narrowed import narrowed
from clear_rt.models.vae import Vae
from clear_rt.models.vae_config import WAN_VAE
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.cuda.networks import CudaNetworks
from clear_rt.runtime.onnx_prior import OnnxPrior

_Network = TypeVar("_Network", bound=nn.Module)

STEPS = 5


def real_dit(device: torch.device, *, occlusion: bool = True, seed: int = 0) -> BakedDit:
    """1.25 B parameters in float32, for a prompt of 38 tokens; `occlusion`: half of the blocks weigh keys."""
    config = BakedConfig.of(replace(WAN_FUN_CONTROL, occlusion=occlusion), text_keys=PROMPT_TOKENS + 1, timesteps=STEPS)
    with torch.device("meta"):
        dit = BakedDit(config)
    dit = randomised(dit.to_empty(device=device), seed)
    return dit.place_turns(dit.time).requires_grad_(False).eval()


def real_vae(device: torch.device, seed: int = 1) -> Vae:
    """Wan's VAE in float32."""
    with torch.device("meta"):
        vae = Vae(WAN_VAE)
    return randomised(vae.to_empty(device=device), seed).requires_grad_(False).eval()


def randomised(network: _Network, seed: int) -> _Network:
    """Fills a network in place: matrices and kernels keep the scale of what flows through them, gains are near 1."""
    device = next(network.parameters()).device
    random = torch.Generator(device).manual_seed(seed)
    for name, tensor in network.state_dict().items():
        drawn = torch.randn(tensor.shape, generator=random, device=device)
        if name.endswith("gamma") or (tensor.ndim == 1 and "norm" in name and name.endswith("weight")):
            drawn = 1 + 0.1 * drawn
        elif name.endswith("beta"):
            drawn = drawn.abs()
        elif "modulation" in name or name == "time":
            drawn = 0.3 * drawn
        elif name.endswith((".k", ".v")):
            pass
        elif tensor.ndim > 1:
            drawn = drawn / tensor[0].numel() ** 0.5
        else:
            drawn = 0.02 * drawn
        tensor.copy_(drawn)
    return network


@torch.no_grad()
def in_policy_fp8(dit: BakedDit, latents: Tensor, control: Tensor) -> BakedDit:
    """The linears of the policy in FP8, with scales of what a step on these inputs shows; shares all else."""
    names = quantized_linears(dit.config, Fp8Policy())
    with largest_inputs(dit, names) as largest:
        dit(latents, control, torch.zeros((), dtype=torch.int64, device=latents.device))
    return in_fp8(dit, Scales(largest), names)


class RealSizeEngine(CudaNetworks):
    """The networks with the prior of a bundle: an engine, for a bundle of `real_size_bundle`."""

    name = "cuda"

    def __init__(self, dit: BakedDit, vae: Vae, bundle: Bundle) -> None:
        encoder, decoder = EncoderStep.folded(vae), DecoderStep.folded(vae)
        super().__init__(dit, narrowed(encoder, torch.bfloat16), narrowed(decoder, torch.bfloat16))
        self._prior = OnnxPrior(bundle.prior)

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`."""
        return self._prior.occlusion(rgb)


def real_size_bundle(*, window_latents: int = 21, overlap_latents: int = 4) -> Bundle:
    """The embedded bundle with a generator of the real size in the place of its own, without files."""
    bundle = open_bundle()
    config = ExportConfig(
        engines=("cuda",),
        steps=STEPS,
        step_counts=(STEPS,),
        window_latents=window_latents,
        overlap_latents=overlap_latents,
    )
    return replace(bundle, generator=generator_spec(config, WAN_VAE))
