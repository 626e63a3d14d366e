"""Transformer and VAE of the `cuda` engine behind the engines' protocol: numpy's arrays in and out."""

from __future__ import annotations

import torch
from torch import Tensor

from clear_rt.models.baked import BakedDit
from clear_rt.models.fp8 import Fp8Linear
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.cuda.crossing import to_device, to_host
from clear_rt.runtime.cuda.graphs import Graphs
from clear_rt.runtime.cuda.side import DeviceSide
from clear_rt.runtime.engine import Caches, Floats


class CudaNetworks:
    """Networks on the device and in the types that they are in. `side` is where it is fastest to work with them."""

    def __init__(self, dit: BakedDit, encoder: EncoderStep, decoder: DecoderStep, *, by_kernels: bool = True) -> None:
        self._dit = dit
        self.side = DeviceSide(dit, encoder, decoder, by_kernels=by_kernels)

    @property
    def graphs(self) -> Graphs:
        return self.side.graphs

    @property
    def precision(self) -> str:
        """What most of the transformer is computed in."""
        if any(isinstance(module, Fp8Linear) for module in self._dit.modules()):
            return "fp8"
        return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(self._dit.time.dtype, "fp32")

    def encode(self, frames: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.encode`."""
        latent, run = self.side.encode(self._there(frames), caches)
        return to_host(latent), run

    def decode(self, latent: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.decode`."""
        frames, run = self.side.decode(self._there(latent), caches)
        return to_host(frames), run

    def control(self, latents: Floats) -> Tensor:
        """As `Engine.control`."""
        return self.side.control(self._there(latents))

    def velocity(self, latents: Floats, control: Tensor, row: int) -> Floats:
        """As `Engine.velocity`."""
        return to_host(self.side.velocity(self._there(latents), control, row))

    def _there(self, array: Floats) -> Tensor:
        return to_device(array, self.side.device)
