"""Frames to occlusion maps: the crop, and the padding that the network wants."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from clear_rt.shapes import Box, round_up

UInt8 = npt.NDArray[np.uint8]


class Looking(Protocol):
    """An engine, or a network alone."""

    def occlusion(self, rgb: UInt8) -> UInt8:
        """As `Engine.occlusion`."""


class Prior:
    """Subtitle probability of pictures of the size that the bundle says (`shapes.working_size`, `outline_size`)."""

    def __init__(self, engine: Looking, multiple_px: int) -> None:
        self._engine = engine
        self._multiple_px = multiple_px

    def __call__(self, rgb: UInt8, box: Box | None = None) -> UInt8:
        """rgb uint8 [H, W, 3] -> uint8 [H, W], 255 x probability; with a box, only computed inside it and 0 elsewhere.

        Edges that miss the network's multiple are repeated: zeros look like a letter box with an edge of their own.
        """
        rows, columns = box.slices if box else (slice(None), slice(None))
        crop = rgb[rows, columns]
        height, width = crop.shape[:2]
        pad = (round_up(height, self._multiple_px) - height, round_up(width, self._multiple_px) - width)
        if any(pad):
            crop = np.pad(crop, ((0, pad[0]), (0, pad[1]), (0, 0)), mode="edge")
        found = self._engine.occlusion(np.ascontiguousarray(crop))[:height, :width]
        if box is None:
            return found
        occlusion = np.zeros(rgb.shape[:2], np.uint8)
        occlusion[rows, columns] = found
        return occlusion
