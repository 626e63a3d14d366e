"""One picture: its upright planes without any conversion, a scaled RGB version, and a copy that may be edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from clear_rt.frames.layout import PixelLayout, PlaneKind
from clear_rt.frames.orientation import Orientation
from clear_rt.frames.samples import samples_of
from clear_rt.frames.scale import Scaler, copy_with_properties, is_full_range, luma_weights
from clear_rt.frames.views import component_views
from clear_rt.shapes import Box


@dataclass(frozen=True, slots=True)
class Plane:
    """One component of the upright picture: `samples` uint8 or uint16 [ceil(H / step_y_px), ceil(W / step_x_px)].

    Any strides, also negative. A value is `samples >> shift`, 0 .. 2**bits - 1; the low `shift` bits are zero.
    """

    samples: NDArray[Any]
    kind: PlaneKind
    step_x_px: int
    step_y_px: int
    bits: int
    shift: int


class Codes(NamedTuple):
    """Weights of red and blue in luma, and whether codes use their whole range: for `clear_rt.colour`."""

    red: float
    blue: float
    full_range: bool


class Frame:
    """`index` counts from 0 in presentation order; `time_us` is the container's presentation time in microseconds."""

    __slots__ = ("_layout", "_orientation", "_planes", "_scaler", "_writable", "index", "picture", "time_us")

    def __init__(
        self,
        picture: av.VideoFrame,
        index: int,
        time_us: int,
        layout: PixelLayout,
        orientation: Orientation,
        scaler: Scaler,
        writable: bool = False,
    ) -> None:
        self.picture = picture
        self.index = index
        self.time_us = time_us
        self._layout = layout
        self._orientation = orientation
        self._scaler = scaler
        self._writable = writable
        self._planes: tuple[Plane, ...] | None = None

    @property
    def planes(self) -> tuple[Plane, ...]:
        """Source sample values as upright views, Y U V (alpha) or R G B (alpha); writable only after `edited()`."""
        if self._planes is None:
            views = component_views(self.picture, self._layout, self._writable)
            self._planes = tuple(self._plane(i, view) for i, view in enumerate(views))
        return self._planes

    def _plane(self, i: int, stored: NDArray[Any]) -> Plane:
        component = self._layout.components[i]
        step_x_px, step_y_px = 1 << component.log2_x, 1 << component.log2_y
        if self._orientation.transpose:
            step_x_px, step_y_px = step_y_px, step_x_px
        samples = self._orientation.upright(stored)
        return Plane(samples, component.kind, step_x_px, step_y_px, self._layout.bits, self._layout.shift)

    def rgb(self, height_px: int, width_px: int, *, exact: bool = False) -> NDArray[np.uint8]:
        """The upright picture, scaled by area averaging: uint8 [height_px, width_px, 3], full range, C-contiguous.

        `exact` for RGB that comes back through `samples_of`, else 8-bit pictures come back 1 code darker: see
        `Scaler.rgb`. Up to 17 times slower at the picture's own size; the prior was trained without.
        """
        if self._orientation.transpose:
            stored = self._scaler.rgb(self.picture, width_px, height_px, exact=exact)
        else:
            stored = self._scaler.rgb(self.picture, height_px, width_px, exact=exact)
        return self._orientation.upright(stored).copy()

    def samples_of(self, rgb: NDArray[np.float32], box: Box) -> list[NDArray[np.float32] | None]:
        """RGB content float32 [H, W, 3], 0..255 full range, of the upright `box` as samples of every plane.

        The inverse of exact `rgb` in this frame's matrix, range, depth and subsampling: see `samples.samples_of`.
        """
        return samples_of(rgb, box, self.picture, self.planes, self._orientation)

    @property
    def codes(self) -> Codes:
        """How those of luma and chroma stand for R, G, B."""
        return Codes(*luma_weights(self.picture), is_full_range(self.picture))

    def edited(self) -> Frame:
        """An independent copy with writable planes: same time, colour description and side data.

        Do not change it any more once it was given to `Writer.write`: encoders may still be reading it.
        """
        twin = copy_with_properties(self.picture)
        frame = Frame(twin, self.index, self.time_us, self._layout, self._orientation, self._scaler, writable=True)
        for mine, its in zip(
            component_views(self.picture, self._layout), component_views(twin, self._layout, True), strict=True
        ):
            its[...] = mine
        return frame
