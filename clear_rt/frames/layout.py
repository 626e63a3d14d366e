"""Where the samples of a pixel format lie: enough to view every component as an array without converting anything."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np

PlaneKind = Literal["luma", "chroma", "rgb", "alpha"]

_SUBSAMPLING_LOG2 = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "411": (2, 0), "440": (0, 1), "410": (2, 2)}
_PLANAR_YUV = re.compile(r"yuv(a?)(j?)(\d{3})p(\d*)(?:le)?")
_PLANAR_RGB = re.compile(r"gbr(a?)p(\d*)(?:le)?")
_GRAY = re.compile(r"gray(\d*)(?:le)?")
_GRAY_ALPHA = re.compile(r"ya(8|16le)")
_SEMI_PLANAR_8 = re.compile(r"nv(12|21|16|24|42)")
_SEMI_PLANAR_HIGH = re.compile(r"p([024])(10|12|16)le")
_PACKED_422 = re.compile(r"(yuyv|uyvy|yvyu)422")
_PACKED_RGB_8 = re.compile(r"(?:rgb|bgr)24|rgba|bgra|argb|abgr|rgb0|bgr0|0rgb|0bgr")
_PACKED_RGB_16 = re.compile(r"(rgb|bgr)48le|(rgba|bgra)64le")


@dataclass(frozen=True, slots=True)
class Component:
    """One component in stored orientation; `offset` and `step` count samples along a row of buffer `buffer`."""

    kind: PlaneKind
    buffer: int
    offset: int = 0
    step: int = 1
    log2_x: int = 0
    log2_y: int = 0


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """Components in the order Y, U, V, alpha or R, G, B, alpha; samples hold `bits` bits above `shift` zeros."""

    name: str
    bits: int
    components: tuple[Component, ...]
    shift: int = 0
    big_endian: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.bits <= 8 else ">u2" if self.big_endian else "<u2")

    @property
    def is_rgb(self) -> bool:
        return self.components[0].kind == "rgb"

    def same_samples(self, other: PixelLayout) -> bool:
        """True where both formats hold the same numbers and only their place in memory differs."""
        return self.bits == other.bits and [_shape(c) for c in self.components] == [_shape(c) for c in other.components]


def _shape(component: Component) -> tuple[PlaneKind, int, int]:
    return component.kind, component.log2_x, component.log2_y


def _bits(digits: str) -> int:
    return int(digits) if digits else 8


def _planar_yuv(name: str) -> PixelLayout | None:
    if not (match := _PLANAR_YUV.fullmatch(name)) or match[3] not in _SUBSAMPLING_LOG2:
        return None
    x, y = _SUBSAMPLING_LOG2[match[3]]
    parts = [Component("luma", 0), Component("chroma", 1, 0, 1, x, y), Component("chroma", 2, 0, 1, x, y)]
    if match[1]:
        parts.append(Component("alpha", 3))
    return PixelLayout(name, _bits(match[4]), tuple(parts))


def _planar_rgb(name: str) -> PixelLayout | None:
    if not (match := _PLANAR_RGB.fullmatch(name)):
        return None
    parts = [Component("rgb", 2), Component("rgb", 0), Component("rgb", 1)]
    if match[1]:
        parts.append(Component("alpha", 3))
    return PixelLayout(name, _bits(match[2]), tuple(parts))


def _gray(name: str) -> PixelLayout | None:
    if match := _GRAY.fullmatch(name):
        return PixelLayout(name, _bits(match[1]), (Component("luma", 0),))
    if match := _GRAY_ALPHA.fullmatch(name):
        bits = 8 if match[1] == "8" else 16
        return PixelLayout(name, bits, (Component("luma", 0, 0, 2), Component("alpha", 0, 1, 2)))
    return None


def _semi_planar(name: str) -> PixelLayout | None:
    if match := _SEMI_PLANAR_8.fullmatch(name):
        x, y = {"12": (1, 1), "21": (1, 1), "16": (1, 0), "24": (0, 0), "42": (0, 0)}[match[1]]
        u = 1 if match[1] in ("21", "42") else 0
        bits = shift_bits = 8
    elif match := _SEMI_PLANAR_HIGH.fullmatch(name):
        x, y = {"0": (1, 1), "2": (1, 0), "4": (0, 0)}[match[1]]
        u, bits, shift_bits = 0, int(match[2]), 16
    else:
        return None
    parts = (Component("luma", 0), Component("chroma", 1, u, 2, x, y), Component("chroma", 1, 1 - u, 2, x, y))
    return PixelLayout(name, bits, parts, shift_bits - bits)


def _packed(name: str) -> PixelLayout | None:
    if match := _PACKED_422.fullmatch(name):
        order = match[1]
        chroma = [Component("chroma", 0, order.index(letter), 4, 1, 0) for letter in "uv"]
        return PixelLayout(name, 8, (Component("luma", 0, order.index("y"), 2), *chroma))
    if _PACKED_RGB_8.fullmatch(name):
        order, bits = name.removesuffix("24"), 8
    elif match := _PACKED_RGB_16.fullmatch(name):
        order, bits = match[1] or match[2], 16
    else:
        return None
    parts = [Component("rgb", 0, order.index(letter), len(order)) for letter in "rgb"]
    if "a" in order:
        parts.append(Component("alpha", 0, order.index("a"), len(order)))
    return PixelLayout(name, bits, tuple(parts))


@cache
def pixel_layout(name: str) -> PixelLayout | None:
    """Layout of FFmpeg's pixel format `name`, or None where it is not supported (palette, bit-packed, big-endian…)."""
    for parse in (_planar_yuv, _planar_rgb, _gray, _semi_planar, _packed):
        if layout := parse(name):
            return layout
    return None


def layout_to_write(name: str) -> PixelLayout | None:
    """The same of a format that an encoder takes, of either byte order: PNG's 16 bits are big-endian."""
    if layout := pixel_layout(name):
        return layout
    layout = pixel_layout(name.removesuffix("be") + "le") if name.endswith("be") else None
    return None if layout is None else replace(layout, name=name, big_endian=True)
