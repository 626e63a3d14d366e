"""A picture with alpha that is laid over another: where it sits, how it is moved, smeared and blended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
OPAQUE = 255
# The picture that is drawn on, before anything is, at the (height_px, width_px) asked for: uint8 [H, W, 3].
Glimpse = Callable[[int, int], UInt8]


@dataclass(frozen=True, slots=True)
class Overlay:
    """`rgba` uint8 [h, w, 4], straight alpha, and where its corner sits in the picture."""

    rgba: UInt8
    x_px: int
    y_px: int


@dataclass(frozen=True, slots=True)
class Shown:
    """An overlay that lies within the picture and how strongly it is seen, 0 .. OPAQUE."""

    overlay: Overlay
    opacity: int = OPAQUE


class Drawn(Protocol):
    """Something that is laid over a video; asked for every frame in order, in microseconds from the first one."""

    def at(self, time_us: int, glimpse: Glimpse) -> tuple[Shown, ...]: ...


def clip(overlay: Overlay, width_px: int, height_px: int) -> Overlay:
    """What lies within a picture of width_px x height_px; an empty overlay where nothing does."""
    left, top = max(-overlay.x_px, 0), max(-overlay.y_px, 0)
    right = min(overlay.rgba.shape[1], width_px - overlay.x_px)
    bottom = min(overlay.rgba.shape[0], height_px - overlay.y_px)
    rgba = overlay.rgba[top : max(bottom, top), left : max(right, left)]
    return Overlay(rgba, overlay.x_px + left, overlay.y_px + top)


def faded(overlay: Overlay, share: float) -> Overlay:
    """The overlay with its alpha times `share`, 0..1."""
    rgba = overlay.rgba.copy()
    rgba[..., 3] = np.round(rgba[..., 3] * share).astype(np.uint8)
    return Overlay(rgba, overlay.x_px, overlay.y_px)


def smeared(overlay: Overlay, dx_px: float, dy_px: float) -> Overlay:
    """The mean of the overlay on its way over (dx_px, dy_px), centred on where it is: the blur of an open shutter."""
    steps = int(np.ceil(max(abs(dx_px), abs(dy_px))))
    if steps < 1 or overlay.rgba.size == 0:
        return overlay
    pad_x, pad_y = int(np.ceil(abs(dx_px) / 2)), int(np.ceil(abs(dy_px) / 2))
    height, width = overlay.rgba.shape[:2]
    alpha = overlay.rgba[..., 3:].astype(np.float32)
    premultiplied = np.concatenate([overlay.rgba[..., :3] * (alpha / OPAQUE), alpha], axis=2)
    summed = np.zeros((height + 2 * pad_y, width + 2 * pad_x, 4), np.float32)
    for at in np.linspace(-0.5, 0.5, steps + 1):
        y, x = pad_y + round(float(at * dy_px)), pad_x + round(float(at * dx_px))
        summed[y : y + height, x : x + width] += premultiplied
    return Overlay(straight((summed / (steps + 1)).astype(np.float32)), overlay.x_px - pad_x, overlay.y_px - pad_y)


def straight(premultiplied: npt.NDArray[np.float32]) -> UInt8:
    """Colours times alpha, float32 [h, w, 4] in 0..255, as uint8 [h, w, 4] with straight alpha."""
    alpha = premultiplied[..., 3:]
    colours = premultiplied[..., :3] * (OPAQUE / np.maximum(alpha, 1e-3))
    rgba: UInt8 = np.rint(np.concatenate([np.minimum(colours, OPAQUE), alpha], axis=2)).astype(np.uint8)
    return rgba


def blend(rgb: UInt8, overlay: Overlay, opacity: float = 1.0) -> UInt8:
    """A copy of `rgb` uint8 [H, W, 3] with the overlay drawn over it; `opacity` 0..1 serves fades."""
    out = rgb.copy()
    height, width = overlay.rgba.shape[:2]
    window = out[overlay.y_px : overlay.y_px + height, overlay.x_px : overlay.x_px + width]
    alpha = overlay.rgba[..., 3:].astype(np.float32) * (opacity / OPAQUE)
    window[:] = np.round(window + (overlay.rgba[..., :3] - window.astype(np.float32)) * alpha).astype(np.uint8)
    return out
