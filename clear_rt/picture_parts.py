"""A part of a picture as it crosses to a GPU: its planes in the source's own samples, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clear_rt.frames import Frame, Plane
from clear_rt.shapes import Box, plane_box

Samples = NDArray[Any]
# A flat array or tensor of samples.
Flat = TypeVar("Flat", bound=Any)
_KINDS = ("luma", "chroma", "chroma")
_STEPS = (1, 2)


@dataclass(frozen=True, slots=True)
class PackedPlanes:
    """Shapes of luma and of each chroma plane, and the type of their samples: how Y, Cb, Cr lie without gaps."""

    luma: tuple[int, int]
    chroma: tuple[int, int]
    dtype: type[np.uint8] | type[np.uint16]

    @property
    def samples(self) -> int:
        return prod(self.luma) + 2 * prod(self.chroma)

    @property
    def size_bytes(self) -> int:
        return self.samples * np.dtype(self.dtype).itemsize

    def planes(self, flat: Flat) -> tuple[Flat, Flat, Flat]:
        """Views [h, w] of `samples` in a row."""
        first, second = prod(self.luma), prod(self.luma) + prod(self.chroma)
        return (
            flat[:first].reshape(self.luma),
            flat[first:second].reshape(self.chroma),
            flat[second : self.samples].reshape(self.chroma),
        )


@dataclass(frozen=True, slots=True)
class PicturePart:
    """The part `box` of a frame's picture, which holds whole cells of pixels that share a chroma sample."""

    box: Box
    views: tuple[Samples, Samples, Samples]

    @property
    def packed(self) -> PackedPlanes:
        luma, chroma, _ = self.views
        dtype = np.uint8 if luma.dtype == np.uint8 else np.uint16
        return PackedPlanes((luma.shape[0], luma.shape[1]), (chroma.shape[0], chroma.shape[1]), dtype)

    def pack(self, flat: Samples) -> None:
        """Copies the samples out."""
        for plane, view in zip(self.packed.planes(flat), self.views, strict=True):
            plane[...] = view

    def unpack(self, flat: Samples) -> None:
        """Copies samples in; the frame has to be `edited`."""
        for plane, view in zip(self.packed.planes(flat), self.views, strict=True):
            view[...] = plane


def crosses(frame: Frame) -> bool:
    """Whether a frame's picture is Y, Cb, Cr that kernels read, and its cells lie as they assume.

    A picture that ends within a cell may begin within one where it is shown turned: those stay on the host.
    """
    planes = _coloured(frame)
    if tuple(plane.kind for plane in planes) != _KINDS:
        return False
    luma, first, second = planes
    height_px, width_px = luma.samples.shape
    steps = (first.step_x_px, first.step_y_px)
    return (
        (second.step_x_px, second.step_y_px) == steps
        and all(step in _STEPS for step in steps)
        and width_px % first.step_x_px == height_px % first.step_y_px == 0
    )


def part_of(frame: Frame, box: Box, margin_cells: int = 0) -> PicturePart:
    """The smallest part that holds `box` and so many cells more around it, as far as the picture reaches."""
    luma, first, second = _coloured(frame)
    height_px, width_px = luma.samples.shape
    across, down = first.step_x_px, first.step_y_px
    inner = plane_box(box, across, down)
    left, top = max(inner.x_px - margin_cells, 0), max(inner.y_px - margin_cells, 0)
    right = min(inner.right_px + margin_cells, width_px // across)
    bottom = min(inner.bottom_px + margin_cells, height_px // down)
    cells = Box(left, top, right - left, bottom - top)
    pixels = Box(left * across, top * down, cells.width_px * across, cells.height_px * down)
    views = luma.samples[pixels.slices], first.samples[cells.slices], second.samples[cells.slices]
    return PicturePart(pixels, views)


def _coloured(frame: Frame) -> tuple[Plane, ...]:
    return tuple(plane for plane in frame.planes if plane.kind != "alpha")
