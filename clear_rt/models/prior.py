"""The occlusion prior: subtitle probability per pixel, in pixel space, Stage I of CLEAR (arXiv 2603.21901).

A small encoder-decoder on the picture's 2 x 2 blocks, 0.61 M parameters. Widths are multiples of 16 because ONNX
Runtime blocks channels by 16: 34 ms for 640 x 368 on two cores, where 24-48-80-112 took 47 ms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MULTIPLE_PX = 16
WIDTHS = (32, 48, 80, 112)


class ConvNorm(nn.Sequential):
    """Conv 3x3, batch norm, ReLU; the norm folds into the convolution at export."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride, dilation, dilation, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class PriorNet(nn.Module):
    """rgb [B, 3, H, W] in [-1, 1], H and W multiples of 16 -> logits [B, 1, H, W], features [B, 40, H/4, W/4]."""

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        self.at_2 = nn.Sequential(ConvNorm(12, half), ConvNorm(half, half))
        self.at_4 = nn.Sequential(ConvNorm(half, quarter, stride=2), ConvNorm(quarter, quarter))
        self.at_8 = nn.Sequential(ConvNorm(quarter, eighth, stride=2), *(ConvNorm(eighth, eighth) for _ in range(2)))
        self.at_16 = nn.Sequential(
            ConvNorm(eighth, sixteenth, stride=2), *(ConvNorm(sixteenth, sixteenth, dilation=d) for d in (2, 4))
        )
        self.lateral = nn.ModuleList(
            nn.Conv2d(deep, shallow, 1) for deep, shallow in ((sixteenth, eighth), (eighth, quarter), (quarter, half))
        )
        self.fuse = nn.ModuleList(ConvNorm(width, width) for width in (eighth, quarter, half))
        self.head = nn.Conv2d(half, 4, 3, 1, 1)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        half = self.at_2(functional.pixel_unshuffle(rgb, 2))
        quarter = self.at_4(half)
        eighth = self.at_8(quarter)
        x = self.at_16(eighth)
        fused = []
        for lateral, fuse, skip in zip(self.lateral, self.fuse, (eighth, quarter, half), strict=True):
            x = fuse(functional.interpolate(lateral(x), scale_factor=2.0, mode="nearest") + skip)
            fused.append(x)
        return functional.pixel_shuffle(self.head(x), 2), fused[1]


class PriorGraph(nn.Module):
    """What is exported: rgb uint8 [1, H, W, 3] -> occlusion uint8 [1, H, W], 255 x probability."""

    def __init__(self, net: PriorNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, rgb: Tensor) -> Tensor:
        picture = rgb.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        logits, _ = self.net(picture)
        return torch.round(torch.sigmoid(logits[:, 0]) * 255.0).to(torch.uint8)
