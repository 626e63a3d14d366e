"""The two halves of the Wan VAE without the 1x1x1 convolutions around the latents. Source: reference.md 3.1."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from clear_rt.models.vae_blocks import AttentionBlock, CausalConv3d, Head, ResidualBlock
from clear_rt.models.vae_cache import History
from clear_rt.models.vae_config import VaeConfig
from clear_rt.models.vae_resample import Downsample, Upsample

RGB = 3


class Middle(nn.ModuleList):
    """Residual block, attention, residual block, at the coarsest size."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            (ResidualBlock(channels, channels), AttentionBlock(channels), ResidualBlock(channels, channels))
        )

    def forward(self, x: Tensor, history: History) -> Tensor:
        before, attention, after = self
        return after(attention(before(x, history)), history)


class Encoder(nn.Module):
    """Frames [B, 3, T, H, W] in [-1, 1] -> moments [B, 2C, L, H/8, W/8]: C means, then C log variances."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.conv1 = CausalConv3d(RGB, config.base_width)
        self.downsamples = nn.ModuleList(_down_layers(config))
        self.middle = Middle(config.widths[-1])
        self.head = Head(config.widths[-1], 2 * config.latent_channels)

    def forward(self, frames: Tensor, history: History) -> Tensor:
        x = self.conv1.causal(frames, history)
        for layer in self.downsamples:
            x = layer(x, history)
        return self.head(self.middle(x, history), history)


class Decoder(nn.Module):
    """Latents [B, C, L, h, w] -> frames [B, 3, T, 8h, 8w], about [-1, 1], not clipped."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.conv1 = CausalConv3d(config.latent_channels, config.widths[-1])
        self.middle = Middle(config.widths[-1])
        self.upsamples = nn.ModuleList(_up_layers(config))
        self.head = Head(config.widths[0], RGB)

    def forward(self, latents: Tensor, history: History) -> Tensor:
        x = self.middle(self.conv1.causal(latents, history), history)
        for layer in self.upsamples:
            x = layer(x, history)
        return self.head(x, history)


def cached_layers(coder: Encoder | Decoder) -> int:
    """How many caches a streamed step of the coder takes and returns: one per convolution over several frames."""
    return sum(isinstance(layer, nn.Conv3d) and layer.kernel_size[0] > 1 for layer in coder.modules())


def _down_layers(config: VaeConfig) -> Iterator[nn.Module]:
    width_in = config.base_width
    for stage, width in enumerate(config.widths):
        for _ in range(config.res_blocks):
            yield ResidualBlock(width_in, width)
            width_in = width
        if stage < len(config.temporal_down):
            yield Downsample(width, temporal=config.temporal_down[stage])


def _up_layers(config: VaeConfig) -> Iterator[nn.Module]:
    width_in = config.widths[-1]
    for stage, width in reversed(list(enumerate(config.widths))):
        for _ in range(config.res_blocks + 1):
            yield ResidualBlock(width_in, width)
            width_in = width
        if stage > 0:
            yield Upsample(width, temporal=config.temporal_down[stage - 1])
            width_in = width // 2
