"""Credits: a block of lines that rolls up through the picture, over and over."""

from __future__ import annotations

import numpy as np

from clear_rt.burn.negatives.lettering import Hand, lettering, random_hand, stacked
from clear_rt.burn.overlay import Glimpse, Overlay, Shown, UInt8, clip
from clear_rt.burn.styles import Colour

_LINES = (8, 24)


class Credits:
    """A part and the names that play it, in one column or in two, at the left, in the middle or at the right."""

    def __init__(self, width_px: int, height_px: int, scripts: tuple[str, ...], rng: np.random.Generator) -> None:
        hand = random_hand(scripts, rng)
        size_px = max(round(height_px * rng.uniform(0.025, 0.05)), 6)
        two_columns = bool(rng.random() < 0.4)
        pieces = [_entry(hand, size_px, two_columns, rng) for _ in range(int(rng.integers(*_LINES)))]
        self._block = stacked(pieces)
        room_px = width_px - self._block.shape[1]
        self._x_px = round(room_px * float(rng.choice([0.1, 0.5, 0.5, 0.9])))
        self._size_px = (width_px, height_px)
        self._speed_px_s = height_px * float(rng.uniform(0.06, 0.2))
        # In view from the first frame on: half a minute of an empty picture would teach and test nothing.
        self._start_px = float(rng.uniform(0.3, 0.9)) * height_px

    def at(self, time_us: int, glimpse: Glimpse) -> tuple[Shown, ...]:
        width_px, height_px = self._size_px
        rolled_px = self._start_px + self._speed_px_s * time_us / 1_000_000
        y_px = height_px - round(rolled_px % (height_px + self._block.shape[0]))
        overlay = clip(Overlay(self._block, self._x_px, y_px), width_px, height_px)
        return (Shown(overlay),) if overlay.rgba.size else ()


def _entry(hand: Hand, size_px: int, two_columns: bool, rng: np.random.Generator) -> UInt8:
    white: Colour = (235, 235, 235)
    if rng.random() < 0.2:
        return lettering(hand.line(rng, 24).upper(), hand, round(size_px * 1.3), white, (0, 0, 0))
    name = lettering(hand.line(rng, 18), hand, size_px, white, (0, 0, 0))
    if not two_columns:
        return name
    part = lettering(hand.line(rng, 18), hand, size_px, (190, 190, 190), (0, 0, 0))
    half = max(part.shape[1], name.shape[1])
    left = np.pad(part, ((0, 0), (half - part.shape[1], 0), (0, 0)))
    right = np.pad(name, ((0, 0), (0, half - name.shape[1]), (0, 0)))
    return np.concatenate([left, right], axis=1)
