"""What a burned-in subtitle can look like. Lengths are shares of the picture's height, colours 0..255, alphas 0..1."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One look. `size_share` is the font size; outline, shadow and padding are shares of the font size."""

    size_share: float = 0.055
    colour: Colour = (255, 255, 255)
    gradient_to: Colour | None = None
    karaoke: Colour | None = None
    outline_share: float = 0.07
    outline_colour: Colour = (0, 0, 0)
    shadow_share: float = 0.0
    shadow_alpha: float = 0.6
    shadow_blur_share: float = 0.0
    box_alpha: float = 0.0
    box_colour: Colour = (0, 0, 0)
    box_padding_share: float = 0.25
    opacity: float = 1.0
    top: bool = False
    margin_share: float = 0.05
    shift_share: float = 0.0
    fade_us: int = 0


_BRIGHT: tuple[Colour, ...] = (
    (255, 255, 255), (255, 255, 255), (255, 255, 255), (240, 240, 240), (255, 255, 0), (255, 230, 80), (255, 215, 0),
    (0, 255, 255), (120, 255, 120), (255, 160, 200), (255, 140, 60), (255, 60, 60), (150, 200, 255),
)  # fmt: skip
_DARK: tuple[Colour, ...] = ((0, 0, 0), (0, 0, 0), (0, 0, 0), (30, 30, 60), (70, 20, 20), (20, 60, 90), (40, 40, 40))


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def random_style(rng: np.random.Generator) -> Style:
    """A look drawn from what broadcasters, fansubbers and phone editors use; every field can vary."""
    kind = rng.choice(["outline", "shadow", "box", "plain", "inverted"], p=[0.5, 0.18, 0.2, 0.07, 0.05])
    style = Style(
        size_share=float(rng.uniform(0.03, 0.09)),
        colour=_pick(rng, _BRIGHT),
        outline_share=0.0,
        top=bool(rng.random() < 0.15),
        margin_share=float(rng.uniform(0.015, 0.12)),
        shift_share=float(rng.normal(0, 0.06)) if rng.random() < 0.3 else 0.0,
        opacity=float(rng.uniform(0.45, 0.9)) if rng.random() < 0.15 else 1.0,
        fade_us=int(rng.choice([0, 0, 0, 200_000, 400_000])),
    )
    if kind == "outline":
        style = replace(style, outline_share=float(rng.uniform(0.03, 0.12)), outline_colour=_pick(rng, _DARK))
    elif kind == "inverted":
        style = replace(
            style,
            colour=_pick(rng, _DARK),
            outline_share=float(rng.uniform(0.04, 0.1)),
            outline_colour=_pick(rng, _BRIGHT),
        )
    elif kind == "box":
        style = replace(
            style,
            box_alpha=float(rng.uniform(0.3, 1.0)),
            box_colour=_pick(rng, _DARK),
            box_padding_share=float(rng.uniform(0.1, 0.45)),
        )
        if rng.random() < 0.15:
            style = replace(style, colour=style.box_colour, box_colour=style.colour)
    if kind == "shadow" or (kind == "outline" and rng.random() < 0.3):
        style = replace(
            style,
            shadow_share=float(rng.uniform(0.03, 0.1)),
            shadow_alpha=float(rng.uniform(0.4, 1.0)),
            shadow_blur_share=float(rng.choice([0.0, 0.04, 0.1])),
        )
    if rng.random() < 0.08:
        style = replace(style, gradient_to=_pick(rng, _BRIGHT))
    if rng.random() < 0.08:
        style = replace(style, karaoke=_pick(rng, _BRIGHT[4:]))
    return style
