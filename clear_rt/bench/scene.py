"""Pictures to measure with: a textured scene that pans, with captions at the lower edge if wanted. Numbers only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clear_rt.bench.letters import CAPITAL_PX, TALL_PX, width_px, written
from clear_rt.shapes import Box, Size

UInt8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]

LINES = ("Every picture of this clip", "carries two lines of text")
# Of the picture's height: what subtitles have.
_LETTER_SHARE = 0.045
_PAN_PX = 2
# The scene pans so far, then back.
_SPAN_PX = 64
_INK, _OUTLINE = 245, 12


class Scene:
    """A scene of one size; the same every time."""

    def __init__(self, size: Size, seed: int = 0) -> None:
        self.size = size
        self._wide = _texture(Size(size.width_px + _SPAN_PX, size.height_px), np.random.default_rng(seed))

    def pictures(self, frames: int, captions: Captions | None = None) -> Iterator[UInt8]:
        """uint8 [H, W, 3], `frames` of them."""
        for i in range(frames):
            left = abs((i * _PAN_PX + _SPAN_PX) % (2 * _SPAN_PX) - _SPAN_PX)
            picture = self._wide[:, left : left + self.size.width_px].copy()
            if captions is not None:
                captions.draw(picture)
            yield picture


class Captions:
    """Two lines of white letters with a dark outline, in the middle of `box` as far as it holds them."""

    def __init__(self, picture: Size, box: Box) -> None:
        wanted = round(_LETTER_SHARE * picture.height_px / CAPITAL_PX)
        widest = max(1, box.width_px // (max(map(width_px, LINES)) + 4))
        scale = max(1, min(wanted, widest, box.height_px // (len(LINES) * (TALL_PX + 2))))
        self.ink = np.zeros((picture.height_px, picture.width_px), np.bool_)
        height = (TALL_PX + 1) * scale
        # Whole pictures carry text where subtitles are, bands of them in the middle.
        middle = box.y_px + (box.height_px // 2 if 2 * box.height_px < picture.height_px else 5 * box.height_px // 6)
        top = min(middle - height * len(LINES) // 2, box.bottom_px - height * len(LINES))
        for i, line in enumerate(LINES):
            shape = written(line, scale)[:, : box.width_px]
            left = box.x_px + (box.width_px - shape.shape[1]) // 2
            y = max(top + i * height, 0)
            room = self.ink[y : y + shape.shape[0], left : left + shape.shape[1]]
            room |= shape[: room.shape[0]]
        self.covered = _grown(self.ink, max(1, scale // 2))

    def draw(self, picture: UInt8) -> None:
        """Into uint8 [H, W, 3]."""
        picture[self.covered] = _OUTLINE
        picture[self.ink] = _INK


def _texture(size: Size, random: np.random.Generator) -> UInt8:
    """Large shapes and fine grain, by octaves of noise."""
    total = np.zeros((size.height_px, size.width_px, 3), np.float32)
    for cell_px, strength in ((96, 60.0), (24, 25.0), (6, 10.0), (1, 4.0)):
        rows, columns = -(-size.height_px // cell_px) + 2, -(-size.width_px // cell_px) + 2
        values = random.standard_normal((rows, columns, 3), np.float32)
        # Mostly in brightness, as real pictures.
        total += strength * _enlarged(0.3 * values + values[..., :1], cell_px, size)
    return np.clip(total + 120, 0, 255).astype(np.uint8)


def _enlarged(values: NDArray[np.float32], cell_px: int, size: Size) -> NDArray[np.float32]:
    """Bilinear."""
    for axis, length in enumerate((size.height_px, size.width_px)):
        place = np.arange(length, dtype=np.float32) / cell_px
        low = place.astype(np.intp)
        share = (place - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1)).astype(np.float32)
        values = values.take(low, axis) * (1 - share) + values.take(low + 1, axis) * share
    return values


def _grown(mask: Bools, reach_px: int) -> Bools:
    """Also what lies within `reach_px` along an axis or both."""
    for axis in (0, 1):
        before = mask
        mask = before.copy()
        for step in range(1, reach_px + 1):
            ahead: list[slice] = [slice(None), slice(None)]
            behind: list[slice] = [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            mask[tuple(ahead)] |= before[tuple(behind)]
            mask[tuple(behind)] |= before[tuple(ahead)]
    return mask
