"""An overlay in the samples of one pixel format, blended plane by plane; samples without alpha keep every bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clear_rt.burn.colour import SampleColour, rgb_samples
from clear_rt.burn.overlay import OPAQUE, Overlay, Shown
from clear_rt.frames.frame import Plane
from clear_rt.frames.info import VideoInfo

UInt8 = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

_KEPT = 8


@dataclass(frozen=True, slots=True)
class PlaneLayer:
    """What one plane gets: `keep` (1 - alpha) and `add` (alpha times sample value), float32, for rows and columns."""

    plane: int
    rows: slice
    columns: slice
    keep: Float
    add: Float


@dataclass(frozen=True, slots=True)
class Layer:
    """An overlay ready to blend, and its true alpha: uint8 `alpha` [h, w] with its corner at x_px, y_px."""

    planes: tuple[PlaneLayer, ...]
    alpha: UInt8
    x_px: int
    y_px: int

    @property
    def visible(self) -> bool:
        return self.alpha.size > 0

    def blend(self, planes: Sequence[Plane]) -> None:
        """Draw into writable upright planes of the format that the layer was made for."""
        for part in self.planes:
            plane = planes[part.plane]
            window = plane.samples[part.rows, part.columns]
            values = (window >> plane.shift) * part.keep + part.add
            window[...] = np.rint(values).astype(window.dtype) << plane.shift


def make_layer(overlay: Overlay, opacity: float, info: VideoInfo, planes: Sequence[Plane]) -> Layer:
    """`overlay` at `opacity` (0..1) in the samples of a video.

    Alpha is rounded to 8 bits first, so that the mask that is written down is exactly what was blended. Subsampled
    planes get the area average of alpha and of alpha times colour.
    """
    alpha = np.rint(overlay.rgba[..., 3] * np.float32(opacity)).astype(np.uint8)
    box = _bounds(alpha)
    alpha, rgb = alpha[box], overlay.rgba[box][..., :3]
    x_px, y_px = overlay.x_px + box[1].start, overlay.y_px + box[0].start
    if alpha.size == 0:
        return Layer((), alpha, x_px, y_px)
    if planes[0].kind == "rgb":
        values = rgb_samples(rgb, planes[0].bits)
    else:
        values = SampleColour.of(info).yuv(rgb, planes[0].bits)
    share = alpha.astype(np.float32) / 255
    parts = []
    for i, plane in enumerate(planes):
        if plane.kind != "alpha":
            rows = _blocks(y_px, alpha.shape[0], plane.step_y_px, info.height_px, info.orientation.flip_y)
            columns = _blocks(x_px, alpha.shape[1], plane.step_x_px, info.width_px, info.orientation.flip_x)
            keep, add = 1 - _area_mean(share, rows, columns), _area_mean(share * values[..., i], rows, columns)
            parts.append(PlaneLayer(i, rows.window, columns.window, keep, add))
    return Layer(tuple(parts), alpha, x_px, y_px)


class LayerStore:
    """Layers of a video's overlays; those of overlays that stand still are made once."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._made: list[tuple[Shown, Layer]] = []

    def layers(self, shown: Iterable[Shown], planes: Sequence[Plane]) -> tuple[Layer, ...]:
        """Those that can be seen, for upright planes of the video."""
        layers = (self._layer(one, planes) for one in shown)
        return tuple(layer for layer in layers if layer.visible)

    def _layer(self, shown: Shown, planes: Sequence[Plane]) -> Layer:
        for before, layer in self._made:
            if before.overlay is shown.overlay and before.opacity == shown.opacity:
                return layer
        layer = make_layer(shown.overlay, shown.opacity / OPAQUE, self._info, planes)
        self._made = [*self._made[-_KEPT + 1 :], (shown, layer)]
        return layer


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Along one axis: the samples of a subsampled plane that meet a run of pixels, the first pixel of each inside that
    run, and how many pixels of the picture each stands for.
    """

    window: slice
    starts: npt.NDArray[np.intp]
    pixels: Float


def _blocks(start_px: int, length_px: int, step_px: int, picture_px: int, flipped: bool) -> _Blocks:
    # A reversed axis of odd length begins with the block that was cut short at the stored picture's end.
    offset_px = picture_px % -step_px if flipped else 0
    first, last = (start_px - offset_px) // step_px, (start_px + length_px - 1 - offset_px) // step_px
    edges = offset_px + step_px * np.arange(first, last + 2)
    pixels = np.diff(np.clip(edges, 0, picture_px)).astype(np.float32)
    return _Blocks(slice(first, last + 1), np.maximum(edges[:-1] - start_px, 0), pixels)


def _area_mean(values: Float, rows: _Blocks, columns: _Blocks) -> Float:
    summed = np.add.reduceat(np.add.reduceat(values, rows.starts, axis=0), columns.starts, axis=1)
    mean: Float = summed / (rows.pixels[:, None] * columns.pixels)
    return mean


def _bounds(alpha: UInt8) -> tuple[slice, slice]:
    """The smallest window that holds everything above 0; empty where there is nothing."""
    if not alpha.any():
        return slice(0, 0), slice(0, 0)
    rows, columns = (np.flatnonzero(alpha.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
