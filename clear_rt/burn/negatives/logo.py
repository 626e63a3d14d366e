"""A station's logo in a corner: letters in or beside a shape, often see-through, there all the time."""

from __future__ import annotations

import numpy as np

from clear_rt.burn.negatives.lettering import Hand, lettering, over, random_colour, random_hand
from clear_rt.burn.overlay import Glimpse, Overlay, Shown, UInt8, clip, faded
from clear_rt.burn.pillow import Image, ImageDraw


class Logo:
    """The same mark in the same corner of every frame."""

    def __init__(self, width_px: int, height_px: int, scripts: tuple[str, ...], rng: np.random.Generator) -> None:
        hand = random_hand(scripts, rng)
        size_px = max(round(height_px * rng.uniform(0.03, 0.07)), 6)
        mark = _mark(hand, size_px, rng)
        margin_px = round(height_px * rng.uniform(0.02, 0.07))
        rows, columns = mark.shape[:2]
        x_px = margin_px if rng.random() < 0.5 else width_px - margin_px - columns
        y_px = margin_px if rng.random() < 0.8 else height_px - margin_px - rows
        alpha = rng.uniform(0.3, 0.8) if rng.random() < 0.6 else 1.0
        overlay = faded(clip(Overlay(mark, x_px, y_px), width_px, height_px), alpha)
        self._shown = (Shown(overlay),)

    def at(self, time_us: int, glimpse: Glimpse) -> tuple[Shown, ...]:
        return self._shown


def _mark(hand: Hand, size_px: int, rng: np.random.Generator) -> UInt8:
    """A name in two to five letters and one of four shapes: none, a disc, a rounded box, a disc before the name."""
    light = random_colour(rng, 200)
    name = hand.line(rng).replace(" ", "")[: int(rng.integers(2, 6))].upper()
    kind = str(rng.choice(["name", "disc", "box", "before"]))
    if kind == "name":
        return lettering(name, hand, size_px, light, (40, 40, 40))
    letters = lettering(name, hand, size_px, light)
    rows, columns = letters.shape[:2]
    colour = random_colour(rng, 0, 180)
    if kind == "before":
        shape = _shape(rows, rows, colour, round_px=rows // 2)
        return np.concatenate([shape, letters], axis=1)
    width_px, height_px = (columns, columns) if kind == "disc" else (columns + size_px // 2, rows + size_px // 3)
    shape = _shape(width_px, height_px, colour, round_px=width_px // 2 if kind == "disc" else size_px // 3)
    return over(shape, letters, (width_px - columns) // 2, (height_px - rows) // 2)


def _shape(width_px: int, height_px: int, colour: tuple[int, int, int], round_px: int) -> UInt8:
    picture = Image.new("RGBA", (width_px, height_px))
    ImageDraw.Draw(picture).rounded_rectangle((0, 0, width_px - 1, height_px - 1), round_px, fill=(*colour, 255))
    return np.array(picture)
