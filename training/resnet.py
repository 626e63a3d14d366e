"""ResNet-50 without its classifier (He et al., arXiv 1512.03385), named as torchvision names it.

Stride in the 3 x 3 convolution of a bottleneck (torchvision's "v1.5", whose ImageNet weights people have). 23.5 M
parameters.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.models.checkpoint import open_checkpoint
from clear_rt.models.weights import check

STAGE_BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
# Channels of the maps at strides 4, 8, 16 and 32.
CHANNELS = (256, 512, 1024, 2048)
# The classifier, and counters of batches that no computation reads.
_UNUSED = ("fc.",)
_COUNTER = ".num_batches_tracked"


class Bottleneck(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.conv1, self.bn1 = nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels_in != wide:
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        beside = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn3(self.conv3(y)) + beside)


class ResNet50(nn.Module):
    """rgb [B, 3, H, W] -> maps [B, 512, H / 8, W / 8], [B, 1024, H / 16, W / 16], [B, 2048, H / 32, W / 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        before = 64
        for number, (blocks, channels) in enumerate(zip(STAGE_BLOCKS, CHANNELS, strict=True), 1):
            strides = [1 if number == 1 else 2] + [1] * (blocks - 1)
            stage = nn.Sequential()
            for stride in strides:
                stage.append(Bottleneck(before, channels // EXPANSION, stride))
                before = channels
            self.add_module(f"layer{number}", stage)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = functional.relu(self.bn1(self.conv1(rgb)))
        x = self.get_submodule("layer1")(functional.max_pool2d(x, 3, 2, 1))
        eighth = self.get_submodule("layer2")(x)
        sixteenth = self.get_submodule("layer3")(eighth)
        return eighth, sixteenth, self.get_submodule("layer4")(sixteenth)


def load_resnet(trunk: ResNet50, path: Path) -> None:
    """ImageNet weights as torchvision stores them, `.pth` or safetensors, in place.

    Raises WeightsError where the file is damaged or of another network.
    """
    stored = open_checkpoint(path)
    state = {name: tensor for name, tensor in trunk.state_dict().items() if not name.endswith(_COUNTER)}
    found = {n: s for n, s in stored.shapes.items() if not n.startswith(_UNUSED) and not n.endswith(_COUNTER)}
    check(stored.source, found, {name: tuple(tensor.shape) for name, tensor in state.items()})
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(stored[name])
