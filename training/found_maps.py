"""Where a Stage I network finds text in pictures: the embedded prior, or one at the paper's size.

Both are shown the subtitled picture and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from clear_rt.bundle import open_bundle
from clear_rt.config import MatteConfig
from clear_rt.models.checkpoint import open_checkpoint
from clear_rt.models.weights import check
from clear_rt.outlining import Outlining, opened_outliner
from clear_rt.prior import Prior
from clear_rt.runtime.onnx_prior import OnnxPrior
from clear_rt.shapes import Size, whole
from training.networks_resnet import ResNetPrior
from training.paired_videos import covering

UInt8 = npt.NDArray[np.uint8]


class Finder(Protocol):
    """Pictures uint8 [H, W, 3], sides multiples of 16 -> maps uint8 [h, w] of all of it, 255 x probability."""

    def __call__(self, picture: UInt8) -> UInt8: ...


def finder(weights: Path | None, device: str) -> Finder:
    """`weights` is `prior.safetensors` of `training.prior --backbone resnet50`; None takes the embedded prior.

    Raises WeightsError where the file is damaged or of another network.
    """
    return Embedded() if weights is None else PaperSize(weights, device)


class Embedded:
    """As `Finder`, by the embedded bundle, in the sizes that the runtime has for a picture."""

    def __init__(self) -> None:
        self._bundle = bundle = open_bundle()
        self._prior = Prior(OnnxPrior(bundle.prior), bundle.prior.multiple_px)
        self._outliner = opened_outliner(bundle)

    def __call__(self, picture: UInt8) -> UInt8:
        height_px, width_px = picture.shape[:2]
        sizes = Outlining.of(self._bundle, self._prior, self._outliner, Size(width_px, height_px), MatteConfig())
        return self._found(sizes, lambda size: np.ascontiguousarray(covering(picture, *size)))

    def outlined(self, picture: UInt8, smaller: UInt8) -> UInt8:
        """The map of a picture, in its own size, by text that is found in it in another: uint8 [H, W, 3] both."""
        working, outline = (Size(each.shape[1], each.shape[0]) for each in (smaller, picture))
        sizes = Outlining.of(self._bundle, self._prior, self._outliner, outline, MatteConfig())
        sizes = sizes._replace(working=working, outline=outline)
        return self._found(sizes, lambda size: smaller if size == working else picture)

    def _found(self, sizes: Outlining, picture: Callable[[Size], UInt8]) -> UInt8:
        return sizes(picture(sizes.working), [whole(sizes.working)], picture).map


class PaperSize:
    """As `Finder`, in the picture's own size, in fp32."""

    def __init__(self, weights: Path, device: str) -> None:
        self._net, self._device = load_resnet_prior(weights).to(device), device

    @torch.inference_mode()
    def __call__(self, picture: UInt8) -> UInt8:
        given = torch.from_numpy(picture.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        logits, _ = self._net(given.to(self._device))
        found: UInt8 = (torch.sigmoid(logits[0, 0]) * 255).round().to(torch.uint8).cpu().numpy()
        return found


def load_resnet_prior(path: Path) -> nn.Module:
    """Ready for inference. Raises WeightsError where the file is damaged or of another network."""
    stored = open_checkpoint(path)
    net = ResNetPrior()
    # Counters of batches are whole numbers, which no checkpoint of ours is read with.
    state = {name: tensor for name, tensor in net.state_dict().items() if tensor.is_floating_point()}
    check(stored.source, stored.shapes, {name: tuple(tensor.shape) for name, tensor in state.items()})
    net.load_state_dict({name: stored[name] for name in state}, strict=False)
    return net.eval()
