"""A news ticker: a line of words that crawls through a bar at an edge, without an end."""

from __future__ import annotations

import numpy as np

from clear_rt.burn.negatives.lettering import lettering, over, random_colour, random_hand
from clear_rt.burn.overlay import Glimpse, Overlay, Shown, UInt8

_ITEMS = 6


class Ticker:
    """The bar spans the picture at its lower edge (one time in eight at its upper one); words come from the right."""

    def __init__(self, width_px: int, height_px: int, scripts: tuple[str, ...], rng: np.random.Generator) -> None:
        hand = random_hand(scripts, rng)
        self._bar_px = max(round(height_px * rng.uniform(0.05, 0.1)), 8)
        size_px = max(round(self._bar_px * rng.uniform(0.5, 0.7)), 5)
        dark = rng.random() < 0.75
        letters = random_colour(rng, 200) if dark else random_colour(rng, 0, 70)
        text = "  +  ".join(hand.line(rng) for _ in range(_ITEMS)) + "  +  "
        strip = lettering(text, hand, size_px, letters)
        # Of the strip and itself there is always one picture's width to cut out.
        repeats = -(-width_px // strip.shape[1]) + 1
        self._strip: UInt8 = np.concatenate([strip] * repeats, axis=1)
        self._period_px = strip.shape[1]
        self._bar = self._empty_bar(width_px, dark, rng)
        from_edge_px = round(height_px * rng.uniform(0.0, 0.06))
        self._y_px = from_edge_px if rng.random() < 0.125 else height_px - from_edge_px - self._bar_px
        self._speed_px_s = width_px * float(rng.uniform(0.05, 0.2))
        if hand.script.direction == "rtl":
            self._speed_px_s = -self._speed_px_s

    def _empty_bar(self, width_px: int, dark: bool, rng: np.random.Generator) -> UInt8:
        bar = np.zeros((self._bar_px, width_px, 4), np.uint8)
        bar[..., :3] = random_colour(rng, 0, 90) if dark else random_colour(rng, 200)
        bar[..., 3] = 255 if rng.random() < 0.6 else int(rng.integers(120, 250))
        return bar

    def at(self, time_us: int, glimpse: Glimpse) -> tuple[Shown, ...]:
        start_px = round(self._speed_px_s * time_us / 1_000_000) % self._period_px
        words = self._strip[:, start_px : start_px + self._bar.shape[1]]
        drawn = over(self._bar, words, 0, (self._bar_px - words.shape[0]) // 2)
        return (Shown(Overlay(drawn, 0, self._y_px)),)
