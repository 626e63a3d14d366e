"""The Wan VAE in plain torch: whole runs, and one latent at a time with explicit caches.

The definition that exported graphs and other engines are compared with. Tensor names are the original checkpoint's.
Source: reference.md 3; diffusers' AutoencoderKLWan gives the same to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clear_rt.models.vae_cache import History
from clear_rt.models.vae_coders import RGB, Decoder, Encoder, cached_layers
from clear_rt.models.vae_config import VaeConfig


class Vae(nn.Module):
    """Frames in [-1, 1] to normalised latents and back: 8x8 pixels and four frames, at first one, to a latent (Wan)."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.latent_channels
        self.encoder = Encoder(config)
        self.conv1 = nn.Conv3d(2 * channels, 2 * channels, 1)
        self.conv2 = nn.Conv3d(channels, channels, 1)
        self.decoder = Decoder(config)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames [B, 3, F, H, W] in [-1, 1], F = 4k + 1, H and W multiples of 8 -> latents [B, 16, k + 1, H/8, W/8].

        The mean alone, (mean - latent_means) / latent_stds: nothing is drawn. Raises ValueError for other shapes.
        """
        self._check_frames(frames)
        count, step = frames.shape[2], self.config.latent_frames
        if count % step != 1 % step:
            raise ValueError(f"expected {step}k + 1 frames, got {count}; repeat the last one until it fits")
        return self._latents(self.encoder(frames, History(None, cached_layers(self.encoder), keep=False)))

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents [B, 16, L, h, w] -> frames [B, 3, 4L - 3, 8h, 8w], about [-1, 1], not clipped.

        Raises ValueError for other shapes.
        """
        self._check_latents(latents)
        return self.decoder(self._codes(latents), History(None, cached_layers(self.decoder), keep=False))

    def encoder_step(self, frames: Tensor, caches: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """The next latent [B, 16, 1, H/8, W/8] of a run, and the caches for the step after.

        Frames [B, 3, T, H, W] in [-1, 1]; T is 1 at the beginning, where `caches` is None, and 4 afterwards. The caches
        keep number, order and shapes from step to step: the last two input frames of each causal convolution (zeros
        where the run is shorter), the last one of each halving in time. Raises ValueError for other shapes and counts.
        """
        self._check_frames(frames)
        expected = 1 if caches is None else self.config.latent_frames
        if frames.shape[2] != expected:
            raise ValueError(f"expected {expected} frames for this step, got {frames.shape[2]}")
        history = History(caches, cached_layers(self.encoder))
        return self._latents(self.encoder(frames, history)), history.kept

    def decoder_step(self, latent: Tensor, caches: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """The next frames [B, 3, T, 8h, 8w] of a run, about [-1, 1], not clipped, and the caches for the step after.

        Latent [B, 16, 1, h, w], normalised; T is 1 at the beginning, where `caches` is None, and 4 afterwards. Caches
        as in `encoder_step`. Raises ValueError for other shapes and counts.
        """
        self._check_latents(latent)
        if latent.shape[2] != 1:
            raise ValueError(f"expected 1 latent for this step, got {latent.shape[2]}")
        history = History(caches, cached_layers(self.decoder))
        return self.decoder(self._codes(latent), history), history.kept

    def _latents(self, moments: Tensor) -> Tensor:
        means, _ = self.conv1(moments).chunk(2, dim=1)
        mean, std = self._statistics(means)
        return (means - mean) / std

    def _codes(self, latents: Tensor) -> Tensor:
        mean, std = self._statistics(latents)
        return self.conv2(latents * std + mean)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std of the latents as [16, 1, 1, 1]; not buffers, so that the state dict is the checkpoint's."""
        stats = torch.tensor((self.config.latent_means, self.config.latent_stds), dtype=like.dtype, device=like.device)
        mean, std = stats[:, :, None, None, None]
        return mean, std

    def _check_frames(self, frames: Tensor) -> None:
        px = self.config.latent_px
        if frames.ndim != 5 or frames.shape[1] != RGB or 0 in frames.shape or any(n % px for n in frames.shape[3:]):
            raise ValueError(f"expected frames [B, 3, F, H, W], H and W multiples of {px}, got {list(frames.shape)}")

    def _check_latents(self, latents: Tensor) -> None:
        channels = self.config.latent_channels
        if latents.ndim != 5 or latents.shape[1] != channels or 0 in latents.shape:
            raise ValueError(f"expected latents [B, {channels}, L, h, w], got {list(latents.shape)}")
