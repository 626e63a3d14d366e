"""DISTS (Ding et al. 2020): how different structure and texture of two pictures look. 0: identical.

The backbone is torchvision's VGG16 (`vgg16-397923af.pth`, from download.pytorch.org/models), the heads, alpha and beta,
are `weights.pt` of the package DISTS-pytorch (PyPI) or of its repository (dingkeyan93/DISTS). Neither comes with
clear_rt. Against DISTS-pytorch 0.1 with the same weights the result was found within 1e-6. Pictures are taken at their
own size, as the authors' class does; their script can scale what it loads to a short side of 256 first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from clear_rt.metrics.backbone import Convolution, Convolutions, exact, per_channel, picture_tensor, tensors

UInt8 = npt.NDArray[np.uint8]

STAGES = tuple(
    tuple(Convolution(number, outputs, inputs, 3) for number, inputs, outputs in stage)
    for stage in (
        ((0, 3, 64), (2, 64, 64)),
        ((5, 64, 128), (7, 128, 128)),
        ((10, 128, 256), (12, 256, 256), (14, 256, 256)),
        ((17, 256, 512), (19, 512, 512), (21, 512, 512)),
        ((24, 512, 512), (26, 512, 512), (28, 512, 512)),
    )
)
# The picture itself is the first of them.
CHANNELS = (3, *(stage[-1].outputs for stage in STAGES))
_ENDS = tuple(accumulate(CHANNELS))[:-1]
HEADS = {name: (1, sum(CHANNELS), 1, 1) for name in ("alpha", "beta")}
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_C1 = _C2 = 1e-6
_POOL_EPSILON = 1e-12


class Dists:
    """The networks, loaded once. Raises WeightsError where a file is not what it should be."""

    def __init__(self, backbone: Path, heads: Path) -> None:
        layers = tuple(layer for stage in STAGES for layer in stage)
        self._convolutions = Convolutions(backbone, layers, "the state dict of torchvision's VGG16")
        alpha, beta = tensors(heads, HEADS, "alpha and beta of DISTS").values()
        total = alpha.sum() + beta.sum()
        self._texture, self._structure = (
            torch.tensor_split(weight[0, :, 0, 0] / total, _ENDS) for weight in (alpha, beta)
        )

    def __call__(self, picture: UInt8, reference: UInt8) -> float:
        """Distance of two uint8 [H, W, 3] at their own size."""
        with exact():
            pairs = zip(self._features(picture), self._features(reference), strict=True)
            alike = sum(
                float((texture * means + structure * shapes).sum())
                for (means, shapes), texture, structure in zip(
                    (_alike(a, b) for a, b in pairs), self._texture, self._structure, strict=True
                )
            )
        return 1 - alike

    def _features(self, rgb: UInt8) -> Iterator[Tensor]:
        """The picture, and every stage's output: [C, h w]."""
        shown = picture_tensor(rgb)
        yield shown[0].flatten(1)
        flowing = (shown - per_channel(_MEAN)) / per_channel(_DEVIATION)
        for number, stage in enumerate(STAGES):
            if number:
                flowing = _pooled(flowing)
            for layer in stage:
                flowing = self._convolutions(flowing, layer)
            yield flowing[0].flatten(1)


def _alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """[C] each: how alike the means of two [C, n] are, and how alike they vary."""
    mean_a, mean_b = a.mean(dim=1, keepdim=True), b.mean(dim=1, keepdim=True)
    means = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    variances = ((a - mean_a) ** 2).mean(dim=1) + ((b - mean_b) ** 2).mean(dim=1)
    covariance = ((a - mean_a) * (b - mean_b)).mean(dim=1)
    return means[:, 0], (2 * covariance + _C2) / (variances + _C2)


def _pooled(picture: Tensor) -> Tensor:
    """L2 pooling to half the size: the root of the squares' mean under a Hann window of 3x3."""
    taps = torch.tensor([0.25, 0.5, 0.25], device=picture.device)
    window = torch.outer(taps, taps).expand(picture.shape[1], 1, 3, 3)
    return (conv2d(picture**2, window, stride=2, padding=1, groups=picture.shape[1]) + _POOL_EPSILON).sqrt()
