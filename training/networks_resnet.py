"""Stage I at the paper's size: two ResNet-50 encoders, each with a pyramid, and heads (reference.md 8.1).

The paper where it and the released code differ: two encoders instead of two branches of one; the map is read from the
subtitle features instead of what both branches share; a discriminator, which the code lacks. Against both, the pyramid
begins at stride 8, where it is read: finer levels of it reach nothing; and the content decoder enlarges by 8, not by 16
and back. 55.0 M parameters, of which 27.4 M make the map.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from training.networks import StageOneNetwork
from training.resnet import CHANNELS, ResNet50, load_resnet

PYRAMID_CHANNELS, HIDDEN_CHANNELS, FEATURES = 256, 512, 256
STRIDE_PX = 8
_GROUPS = 32


class Pyramid(nn.Module):
    """Maps at strides 8, 16 and 32 -> one [B, 256, H / 8, W / 8] that knows of all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, PYRAMID_CHANNELS, 1, bias=False) for width in CHANNELS[1:])
        self.smooth = nn.ModuleList(_convolved(PYRAMID_CHANNELS, PYRAMID_CHANNELS, 3) for _ in CHANNELS[1:])

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        x: Tensor | None = None
        for lateral, smooth, found in reversed([*zip(self.lateral, self.smooth, maps, strict=True)]):
            y = lateral(found)
            if x is not None:
                y = y + functional.interpolate(x, size=y.shape[-2:], mode="bilinear", align_corners=False)
            x = smooth(y)
        assert x is not None
        return x


class ResNetEncoder(nn.Module):
    """rgb [B, 3, H, W] in [-1, 1] -> features [B, 256, H / 8, W / 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.pyramid = ResNet50(), Pyramid()
        self.features = nn.Sequential(
            _convolved(PYRAMID_CHANNELS, HIDDEN_CHANNELS, 1),
            _convolved(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 1),
            nn.Conv2d(HIDDEN_CHANNELS, FEATURES, 1),
        )

    def forward(self, rgb: Tensor) -> Tensor:
        features: Tensor = self.features(self.pyramid(self.trunk(rgb)))
        return features


class ResNetPrior(nn.Module):
    """rgb [B, 3, H, W] in [-1, 1], sides multiples of 8 -> logits [B, 1, H, W], features [B, 256, H / 8, W / 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNetEncoder()
        self.head = _enlarged(FEATURES, 1)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(rgb)
        return self.head(features), features


class ResNetStageOne(StageOneNetwork):
    """Both encoders and everything that their losses need."""

    def __init__(self, weights: Path | None = None) -> None:
        """`weights` for both trunks; drawn at random where none are given. Raises WeightsError as `load_resnet`."""
        content = ResNetEncoder()
        prior = ResNetPrior()
        super().__init__(
            prior=prior,
            project=nn.Identity(),
            content=content,
            decoder=nn.Sequential(_enlarged(FEATURES, 3), nn.Tanh()),
            discriminator=nn.Sequential(_convolved(FEATURES, 64, 3), nn.Conv2d(64, 1, 3, 1, 1)),
        )
        if weights is not None:
            for encoder in (content, prior.encoder):
                load_resnet(encoder.trunk, weights)


def _convolved(channels_in: int, channels_out: int, side: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, side, 1, side // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(_GROUPS, channels_out), nn.ReLU(inplace=True))


def _enlarged(channels: int, channels_out: int) -> nn.Sequential:
    """Three doublings, each with half the channels of the one before, then a 3 x 3 convolution."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1), nn.GroupNorm(8, channels // 2)]
        layers.append(nn.ReLU(inplace=True))
        channels //= 2
    return nn.Sequential(*layers, nn.Conv2d(channels, channels_out, 3, 1, 1))
