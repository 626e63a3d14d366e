"""LPIPS (Zhang et al. 2018), version 0.1, AlexNet: how different two pictures look. 0: identical.

The backbone is torchvision's AlexNet (`alexnet-owt-7be5be79.pth`, from download.pytorch.org/models), the heads are
`lpips/weights/v0.1/alex.pth` of the package lpips (PyPI) or of its repository (richzhang/PerceptualSimilarity). Neither
comes with clear_rt. Against lpips 0.1.4 with the same weights the result was found within 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn.functional import max_pool2d

from clear_rt.metrics.backbone import Convolution, Convolutions, exact, per_channel, picture_tensor, tensors

UInt8 = npt.NDArray[np.uint8]

LAYERS = (
    Convolution(0, 64, 3, 11, stride=4, padding=2),
    Convolution(3, 192, 64, 5, padding=2),
    Convolution(6, 384, 192, 3),
    Convolution(8, 256, 384, 3),
    Convolution(10, 256, 256, 3),
)
_POOLED_BEFORE = (3, 6)
HEADS = {f"lin{i}.model.1.weight": (1, layer.outputs, 1, 1) for i, layer in enumerate(LAYERS)}
# What ImageNet's mean and deviation are for pictures of -1..1.
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10
# Smaller pictures leave nothing for the second pooling.
LEAST_SIDE_PX = 31


class Lpips:
    """The networks, loaded once. Raises WeightsError where a file is not what it should be."""

    def __init__(self, backbone: Path, heads: Path) -> None:
        self._convolutions = Convolutions(backbone, LAYERS, "the state dict of torchvision's AlexNet")
        self._heads = list(tensors(heads, HEADS, "the LPIPS v0.1 heads for AlexNet").values())

    def __call__(self, picture: UInt8, reference: UInt8) -> float | None:
        """Distance of two uint8 [H, W, 3] at their own size; None where a side is below `LEAST_SIDE_PX`."""
        if min(picture.shape[:2]) < LEAST_SIDE_PX:
            return None
        with exact():
            layers = zip(self._features(picture), self._features(reference), self._heads, strict=True)
            return sum(float((head * (a - b) ** 2).sum(dim=1).mean()) for a, b, head in layers)

    def _features(self, rgb: UInt8) -> Iterator[Tensor]:
        """Every layer's output [1, C, h, w], of length 1 over the channels."""
        flowing = (2 * picture_tensor(rgb) - 1 - per_channel(_SHIFT)) / per_channel(_SCALE)
        for layer in LAYERS:
            if layer.number in _POOLED_BEFORE:
                flowing = max_pool2d(flowing, 3, 2)
            flowing = self._convolutions(flowing, layer)
            yield flowing / (flowing.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
