"""The convolutions of torchvision's AlexNet and VGG16, from a state dict the user gives, for LPIPS and DISTS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import conv2d, relu

from clear_rt.errors import WeightsError
from clear_rt.models.checkpoint import Checkpoint, open_checkpoint

UInt8 = npt.NDArray[np.uint8]


class Convolution(NamedTuple):
    """`features.{number}` of torchvision's network: the shape of its weight, and how it steps."""

    number: int
    outputs: int
    inputs: int
    side: int
    stride: int = 1
    padding: int = 1

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            f"features.{self.number}.weight": (self.outputs, self.inputs, self.side, self.side),
            f"features.{self.number}.bias": (self.outputs,),
        }


def device() -> str:
    """Where networks run: the GPU that torch sees, or the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def exact() -> Iterator[None]:
    """Without gradients, and with float32 convolutions on a GPU that would take TF32, of 11 bits, by default."""
    flags: Any = torch.backends.cudnn.flags
    with torch.inference_mode(), flags(enabled=True, allow_tf32=False):
        yield


def tensors(path: Path, shapes: Mapping[str, tuple[int, ...]], of: str) -> dict[str, Tensor]:
    """The tensors of these names and shapes, float32, out of a file that may hold more.

    Raises WeightsError that says what the file should be (`of`) where one is missing or of another shape.
    """
    opened: Checkpoint = open_checkpoint(path)
    found = opened.shapes
    for name, shape in shapes.items():
        if name not in found:
            raise WeightsError(f"{path}: expected {of}, found no {name}; give the file that --help names")
        if found[name] != shape:
            raise WeightsError(f"{path}: expected {of}, found {name} of {found[name]} instead of {shape}")
    return {name: opened[name].float().to(device()) for name in shapes}


class Convolutions:
    """Convolutions with ReLU, by the number torchvision has them under."""

    def __init__(self, path: Path, layers: tuple[Convolution, ...], of: str) -> None:
        shapes = {name: shape for layer in layers for name, shape in layer.shapes.items()}
        self._tensors = tensors(path, shapes, of)

    def __call__(self, picture: Tensor, layer: Convolution) -> Tensor:
        """relu(conv(picture)) [1, C, h, w]."""
        weight, bias = (self._tensors[name] for name in layer.shapes)
        return relu(conv2d(picture, weight, bias, layer.stride, layer.padding))


def picture_tensor(rgb: UInt8) -> Tensor:
    """uint8 [H, W, 3] as float32 [1, 3, H, W] in 0..1, where the networks run."""
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None].to(device()).float() / 255


def per_channel(values: tuple[float, float, float]) -> Tensor:
    """[1, 3, 1, 1]."""
    return torch.tensor(values, device=device())[None, :, None, None]
