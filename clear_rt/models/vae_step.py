"""Streamed steps of the VAE with the latents' normalisation folded into the 1x1x1 convolutions: what is exported.

Their tensor names do not collide, so one file of weights can hold both. Source: reference.md 3.3, 3.4.
"""

from __future__ import annotations

from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from clear_rt.models.vae import Vae
from clear_rt.models.vae_cache import History
from clear_rt.models.vae_coders import Decoder, Encoder, cached_layers
from clear_rt.models.vae_config import VaeConfig

_Step = TypeVar("_Step", bound=nn.Module)


class EncoderStep(nn.Module):
    """Frames [B, 3, T, H, W] in [-1, 1], and caches -> normalised latent [B, 16, 1, H/8, W/8], and caches.

    T = 1 without caches, at the beginning of a run, and 4 with the `cache_count` caches that the step before returned.
    H and W must be multiples of 8; that is not checked, as a check would fix them in an exported graph.
    """

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.conv1 = nn.Conv3d(2 * config.latent_channels, config.latent_channels, 1)
        self.cache_count = cached_layers(self.encoder)

    def forward(self, frames: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        expected = self.config.latent_frames if caches else 1
        if frames.shape[2] != expected:
            raise ValueError(f"expected {expected} frames with {len(caches)} caches, got {frames.shape[2]}")
        history = History(caches or None, self.cache_count)
        latent = self.conv1(self.encoder(frames, history))
        return latent, *history.kept

    @classmethod
    def folded(cls, vae: Vae) -> Self:
        """The step of a VAE, sharing its weights but for the quantising convolution, of which the means' half is kept.

        (W x + b - mean) / std = (W / std) x + (b - mean) / std.
        """
        channels = vae.config.latent_channels
        mean, std = _statistics(vae)
        original, offset = _parameters(vae.conv1)
        weight = original[:channels] / std[:, None, None, None, None]
        bias = (offset[:channels] - mean) / std
        with torch.device("meta"):
            step = cls(vae.config)
        return _filled(step, _named("encoder", vae.encoder) | _convolution("conv1", weight, bias, vae.conv1))


class DecoderStep(nn.Module):
    """Normalised latent [B, 16, 1, h, w], and caches -> frames [B, 3, T, 8h, 8w], about [-1, 1], and caches.

    T = 1 without caches, at the beginning of a run, and 4 with the `cache_count` caches that the step before returned.
    """

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        self.conv2 = nn.Conv3d(config.latent_channels, config.latent_channels, 1)
        self.decoder = Decoder(config)
        self.cache_count = cached_layers(self.decoder)

    def forward(self, latent: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        if latent.shape[2] != 1:
            raise ValueError(f"expected 1 latent for a step, got {latent.shape[2]}")
        history = History(caches or None, self.cache_count)
        frames = self.decoder(self.conv2(latent), history)
        return frames, *history.kept

    @classmethod
    def folded(cls, vae: Vae) -> Self:
        """The step of a VAE, sharing its weights but for the convolution in front.

        W (std z + mean) + b = (W std) z + (W mean + b).
        """
        mean, std = _statistics(vae)
        original, offset = _parameters(vae.conv2)
        weight = original * std[:, None, None, None]
        bias = original.flatten(1) @ mean + offset
        with torch.device("meta"):
            step = cls(vae.config)
        return _filled(step, _named("decoder", vae.decoder) | _convolution("conv2", weight, bias, vae.conv2))


def _statistics(vae: Vae) -> Tensor:
    """Mean and std of the latents [2, 16], float64."""
    values = (vae.config.latent_means, vae.config.latent_stds)
    return torch.tensor(values, dtype=torch.float64, device=vae.conv1.weight.device)


def _parameters(convolution: nn.Conv3d) -> tuple[Tensor, Tensor]:
    """Weight and bias in float64, which the fold is computed in."""
    state = convolution.state_dict()
    return state["weight"].double(), state["bias"].double()


def _named(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


def _convolution(prefix: str, weight: Tensor, bias: Tensor, like: nn.Conv3d) -> dict[str, Tensor]:
    dtype = like.weight.dtype
    return {f"{prefix}.weight": weight.to(dtype), f"{prefix}.bias": bias.to(dtype)}


def _filled(step: _Step, state: dict[str, Tensor]) -> _Step:
    """The step with these very tensors as its weights, for inference."""
    step.load_state_dict(state, assign=True)
    return step.requires_grad_(False).eval()
