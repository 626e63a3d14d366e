"""A lower third: a name and what its bearer does, on a bar that slides in, stays a few seconds and goes."""

from __future__ import annotations

import numpy as np

from clear_rt.burn.motion import Extent, Motion, Place, place
from clear_rt.burn.negatives.lettering import Hand, lettering, over, random_colour, random_hand, stacked
from clear_rt.burn.overlay import Glimpse, Overlay, Shown, UInt8, clip

_SHOWN_US, _GAP_US = (3_000_000, 7_000_000), (500_000, 2_500_000)


class Sign:
    """One plate at the lower left or right, again and again with the same gap."""

    def __init__(self, width_px: int, height_px: int, scripts: tuple[str, ...], rng: np.random.Generator) -> None:
        plate = _plate(random_hand(scripts, rng), max(round(height_px * rng.uniform(0.03, 0.055)), 6), rng)
        rows, columns = plate.shape[:2]
        margin_px = round(width_px * rng.uniform(0.03, 0.1))
        x_px = margin_px if rng.random() < 0.75 else max(width_px - margin_px - columns, 0)
        y_px = round(height_px * rng.uniform(0.6, 0.85)) - rows // 2
        self._whole = Overlay(plate, x_px, y_px)
        self._extent = Extent(Place(x_px, y_px), columns, rows, width_px, height_px)
        self._motion = Motion(kind="slide" if rng.random() < 0.6 else "still")
        self._shown_us = int(rng.integers(*_SHOWN_US))
        self._every_us = self._shown_us + int(rng.integers(*_GAP_US))
        self._phase_us = int(rng.integers(0, self._shown_us))

    def at(self, time_us: int, glimpse: Glimpse) -> tuple[Shown, ...]:
        since_us = (time_us + self._phase_us) % self._every_us
        if since_us >= self._shown_us:
            return ()
        now = place(self._motion, self._extent, since_us, self._shown_us - since_us)
        moved = Overlay(self._whole.rgba, round(now.x_px), round(now.y_px))
        overlay = clip(moved, self._extent.picture_width_px, self._extent.picture_height_px)
        return (Shown(overlay),) if overlay.rgba.size else ()


def _plate(hand: Hand, size_px: int, rng: np.random.Generator) -> UInt8:
    light, colour = random_colour(rng, 210), random_colour(rng, 0, 130)
    lines = [lettering(hand.line(rng, 16), hand, size_px, light)]
    if rng.random() < 0.7:
        lines.append(lettering(hand.line(rng, 24), hand, round(size_px * 0.7), light))
    words = stacked(lines, "left")
    rows, columns = words.shape[:2]
    pad_px = size_px // 3
    plate = np.zeros((rows + 2 * pad_px, columns + 2 * pad_px, 4), np.uint8)
    plate[..., :3], plate[..., 3] = colour, 255 if rng.random() < 0.5 else int(rng.integers(110, 240))
    # A stripe of another colour, as broadcasters like it.
    plate[:, : max(size_px // 5, 2)] = (*random_colour(rng, 120), 255)
    return over(plate, words, pad_px, pad_px)
