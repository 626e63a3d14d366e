"""Stage I around the prior: content encoder, decoder and discriminator, dropped after training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.models.prior import WIDTHS, ConvNorm, PriorNet

FEATURES = 32


class _Reverse(torch.autograd.Function):
    """Identity forward, minus the gradient backward: the discriminator learns, the content encoder unlearns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return -gradient


class ContentEncoder(nn.Sequential):
    """rgb [B, 3, H, W] -> content features [B, 32, H/4, W/4]."""

    def __init__(self) -> None:
        super().__init__(
            nn.PixelUnshuffle(4), ConvNorm(48, 48), ConvNorm(48, 48), ConvNorm(48, 48), nn.Conv2d(48, FEATURES, 1)
        )


class ContentDecoder(nn.Sequential):
    """Content features -> the clean picture [B, 3, H, W] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__(
            ConvNorm(FEATURES, 48), ConvNorm(48, 48), nn.Conv2d(48, 48, 3, 1, 1), nn.PixelShuffle(4), nn.Tanh()
        )


class StageOneNetwork(nn.Module):
    """Stage I over any backbone: subtitle and content encoders apart, and what their losses need.

    `prior` gives logits and subtitle features, which `project` brings to the channels of the content features that
    `content` finds; `decoder` rebuilds the clean picture from the latter, `discriminator` looks for text in them.
    """

    def __init__(
        self, *, prior: nn.Module, project: nn.Module, content: nn.Module, decoder: nn.Module, discriminator: nn.Module
    ) -> None:
        super().__init__()
        self.prior = prior
        self.project = project
        self.content = content
        self.decoder = decoder
        self.discriminator = discriminator

    def forward(self, subtitled: Tensor) -> dict[str, Tensor]:
        """subtitled [B, 3, H, W] in [-1, 1] -> logits, both feature maps, the rebuilt picture, the adversary's view."""
        logits, features = self.prior(subtitled)
        content = self.content(subtitled)
        return {
            "logits": logits,
            "subtitle": functional.normalize(self.project(features), dim=1),
            "content": functional.normalize(content, dim=1),
            "rebuilt": self.decoder(content),
            "adversary": self.discriminator(_Reverse.apply(content)),
        }


class StageOne(StageOneNetwork):
    """Both encoders at clear-tiny's size, 0.6 M parameters each or less."""

    def __init__(self) -> None:
        super().__init__(
            prior=PriorNet(),
            project=nn.Conv2d(WIDTHS[1], FEATURES, 1),
            content=ContentEncoder(),
            decoder=ContentDecoder(),
            discriminator=nn.Sequential(ConvNorm(FEATURES, 24), nn.Conv2d(24, 1, 3, 1, 1)),
        )
