"""A picture to draw charts on: rectangles, lines and letters, in pixels from the upper left corner."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clear_rt.bench.letters import CAPITAL_PX, width_px, written

Colour = tuple[int, int, int]
Place = tuple[float, float]
Side = Literal["left", "middle", "right"]

_DASH_PX = 6


class Canvas:
    """White at first. What lies outside is cut off. `scale`: pixels per pixel of a letter."""

    def __init__(self, width: int, height: int, scale: int = 2) -> None:
        self.pixels: NDArray[np.uint8] = np.full((height, width, 3), 255, np.uint8)
        self.scale = scale

    @property
    def letter_px(self) -> int:
        """Height of a capital letter."""
        return CAPITAL_PX * self.scale

    def fill(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A rectangle."""
        left, top, right, bottom = (max(0, round(edge)) for edge in (x, y, x + width, y + height))
        self.pixels[top:bottom, left:right] = colour

    def line(self, begin: Place, end: Place, colour: Colour, *, thick_px: int = 2, dashed: bool = False) -> None:
        """Straight, from one place to another."""
        steps = int(max(abs(end[0] - begin[0]), abs(end[1] - begin[1]))) + 1
        shares = np.linspace(0, 1, steps + 1)
        if dashed:
            shares = shares[np.arange(steps + 1) // _DASH_PX % 2 == 0]
        columns, rows = (
            np.rint(first + (last - first) * shares).astype(int) for first, last in zip(begin, end, strict=True)
        )
        height, width = self.pixels.shape[:2]
        for down in range(thick_px):
            for right in range(thick_px):
                x, y = columns + right - thick_px // 2, rows + down - thick_px // 2
                inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
                self.pixels[y[inside], x[inside]] = colour

    def text(self, x: float, y: float, line: str, colour: Colour, *, side: Side = "left", scale: int = 0) -> None:
        """One line whose capitals begin at row y; x is its left edge, its middle or its right edge."""
        scale = scale or self.scale
        share = {"left": 0.0, "middle": 0.5, "right": 1.0}[side]
        left, top = max(0, round(x - share * width_px(line, scale))), max(0, round(y))
        room = self.pixels[top:, left:]
        ink = written(line, scale)[: room.shape[0], : room.shape[1]]
        room[: ink.shape[0], : ink.shape[1]][ink] = colour

    def wide(self, line: str) -> int:
        """Pixels that a line of text takes."""
        return width_px(line, self.scale)
