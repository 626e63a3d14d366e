"""Where text is to the pixel: looked for in a small picture, outlined in a larger one around what was seen there."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from clear_rt.bundle import PriorSpec
from clear_rt.config import MatteConfig
from clear_rt.frames import Frame
from clear_rt.prior import Prior
from clear_rt.shapes import Box, Size, grow, outline_size, rescale, snap, working_size

UInt8 = npt.NDArray[np.uint8]
# Around what the first look saw, so much of the picture's short side: what that look missed, and for the second one
# some of the picture beside the text.
_CONTEXT_SHARE = 0.07
# Edges are multiples of so many pixels: ONNX Runtime plans anew for every size that it meets.
_STEP_PX = 64


class Outlining(NamedTuple):
    """A prior and its two sizes: `working`, in which it looks for text, and `outline`, that of the map it gives.

    Pixels that reach `seen_level` (of 255) in the first look are worth a second one.
    """

    prior: Prior
    working: Size
    outline: Size
    seen_level: int

    @classmethod
    def of(cls, spec: PriorSpec, prior: Prior, picture: Size, config: MatteConfig) -> Self:
        """For pictures of one size, by what a bundle's prior was made for."""
        working = working_size(*picture, spec.short_side_px)
        outline = outline_size(*picture, spec.short_side_px, spec.outline_side_px)
        return cls(prior, working, outline, ceil(255 * config.low_probability))

    def __call__(self, frame: Frame, rgb: UInt8, boxes: Iterable[Box]) -> UInt8:
        """The map uint8 [h, w] of a frame, 255 x probability, 0 but in and near what is seen in `boxes`.

        `rgb` is the frame at `working`, whose pixels the boxes are in. Raises EngineError where the network fails.
        """
        found, larger = np.zeros((self.outline.height_px, self.outline.width_px), np.uint8), None
        for box in boxes:
            seen = self.prior(rgb, box)
            if self.outline != self.working:
                near = self._near(seen)
                if near is None:
                    continue
                if larger is None:
                    larger = frame.rgb(self.outline.height_px, self.outline.width_px)
                seen = self.prior(larger, near)
            np.maximum(found, seen, out=found)
        return found

    def _near(self, seen: UInt8) -> Box | None:
        """The pixels of `outline` around all that a first look saw, None where it saw nothing."""
        mask = seen >= self.seen_level
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            return None
        x, y = int(columns[0]), int(rows[0])
        box = Box(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)
        context_px = round(_CONTEXT_SHARE * min(self.outline))
        grown = grow(rescale(box, self.working, self.outline), context_px, context_px, self.outline)
        return snap(grown, _STEP_PX, self.outline)
