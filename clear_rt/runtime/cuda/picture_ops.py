"""What pictures on the GPU are converted with: our kernels, or their references in torch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from clear_rt.kernels.composite import composite, composite_ref
from clear_rt.kernels.yuv_to_input import yuv_to_input, yuv_to_input_ref
from clear_rt.shapes import Size

Planes = tuple[Tensor, Tensor, Tensor]


class PictureOps(Protocol):
    """Planes are luma, Cb, Cr of integer samples; matrices float32 [3, 4]."""

    def to_input(self, planes: Planes, matrix: Tensor, x_px: int, y_px: int, size: Size, dtype: torch.dtype) -> Tensor:
        """As `clear_rt.kernels.yuv_to_input`."""

    def composite(
        self,
        planes: Planes,
        generated: Tensor,
        alpha: Tensor,
        matrix: Tensor,
        x_px: int,
        y_px: int,
        bits: int,
        shift: int,
        mode: str,
    ) -> None:
        """As `clear_rt.kernels.composite`."""


class TorchPictureOps:
    """As `PictureOps`, by the references: on any device."""

    def to_input(self, planes: Planes, matrix: Tensor, x_px: int, y_px: int, size: Size, dtype: torch.dtype) -> Tensor:
        return yuv_to_input_ref(*planes, matrix, x_px, y_px, size.height_px, size.width_px).to(dtype)

    def composite(
        self,
        planes: Planes,
        generated: Tensor,
        alpha: Tensor,
        matrix: Tensor,
        x_px: int,
        y_px: int,
        bits: int,
        shift: int,
        mode: str,
    ) -> None:
        done = composite_ref(*planes, generated, alpha, matrix, x_px, y_px, bits, shift, mode)
        for plane, made in zip(planes, done, strict=True):
            plane.copy_(made)


class KernelPictureOps:
    """As `PictureOps`, on a GPU."""

    def to_input(self, planes: Planes, matrix: Tensor, x_px: int, y_px: int, size: Size, dtype: torch.dtype) -> Tensor:
        found: Tensor = yuv_to_input(*planes, matrix, x_px, y_px, size.height_px, size.width_px, dtype)
        return found

    def composite(
        self,
        planes: Planes,
        generated: Tensor,
        alpha: Tensor,
        matrix: Tensor,
        x_px: int,
        y_px: int,
        bits: int,
        shift: int,
        mode: str,
    ) -> None:
        composite(*planes, generated, alpha, matrix, x_px, y_px, bits, shift, mode)
