"""One look whole: how letters are drawn, what is done to them, how they move; by name, or drawn by seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from clear_rt.burn.motion import Motion
from clear_rt.burn.styles import Colour, Style, random_style

LookName = Literal[
    "outline", "box", "shadow", "karaoke", "translucent", "hollow", "scene", "gradient", "glow", "emboss", "blurred",
    "crawl", "slide", "rise", "drift", "always", "watermark", "bilingual", "vertical",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What is done to letters beyond colour, outline, shadow and box; lengths are shares of the font size.

    `fill_alpha` is that of the letters within their outline. `emboss` (0..1) lightens edges at the upper left and
    darkens those at the lower right. `smear_share` blurs along the line, as text that was moving when it was taken.
    `scene_colour` takes the letters' colour from the picture around them instead of from the style.
    """

    fill_alpha: float = 1.0
    glow_share: float = 0.0
    glow_colour: Colour = (255, 255, 255)
    emboss: float = 0.0
    smear_share: float = 0.0
    scene_colour: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How captions of one video look. `always`: one caption from the first frame to the last. `vertical`: in columns
    from the right edge. `second_size` > 0: two languages, the second line that much of the first one's size.
    """

    style: Style = field(default_factory=Style)
    effects: Effects = field(default_factory=Effects)
    motion: Motion = field(default_factory=Motion)
    always: bool = False
    vertical: bool = False
    second_size: float = 0.0


_PLAIN = Style()
_THIN = Style(outline_share=0.04)
LOOKS: dict[str, Look] = {
    "outline": Look(),
    "box": Look(style=Style(outline_share=0.0, box_alpha=0.7)),
    "shadow": Look(
        style=Style(outline_share=0.0, shadow_share=0.07, shadow_alpha=0.8, shadow_blur_share=0.04, fade_us=200_000)
    ),
    "karaoke": Look(style=Style(karaoke=(255, 230, 80), outline_share=0.08, outline_colour=(20, 60, 90))),
    "translucent": Look(style=Style(opacity=0.45, outline_share=0.05)),
    "hollow": Look(style=_PLAIN, effects=Effects(fill_alpha=0.25)),
    "scene": Look(style=_THIN, effects=Effects(scene_colour=True)),
    "gradient": Look(style=Style(colour=(255, 240, 120), gradient_to=(255, 90, 30))),
    "glow": Look(style=_THIN, effects=Effects(glow_share=0.18, glow_colour=(80, 170, 255))),
    "emboss": Look(style=Style(colour=(210, 205, 190), outline_share=0.03), effects=Effects(emboss=0.8)),
    "blurred": Look(style=_PLAIN, effects=Effects(smear_share=0.16)),
    "crawl": Look(style=_PLAIN, motion=Motion(kind="crawl", shutter_us=10_000)),
    "slide": Look(style=_PLAIN, motion=Motion(kind="slide", shutter_us=8_000)),
    "rise": Look(style=_PLAIN, motion=Motion(kind="rise", shutter_us=8_000)),
    "drift": Look(style=_PLAIN, motion=Motion(kind="drift")),
    "always": Look(style=_PLAIN, always=True),
    "watermark": Look(style=Style(size_share=0.1, opacity=0.3, outline_share=0.02, margin_share=0.42), always=True),
    "bilingual": Look(style=_PLAIN, second_size=0.65),
    "vertical": Look(style=_PLAIN, vertical=True),
}
# How often each is drawn among what is not plain; karaoke and gradients occur among the plain ones too.
_HARD = {
    "translucent": 0.12, "hollow": 0.05, "scene": 0.14, "gradient": 0.05, "glow": 0.10, "emboss": 0.06,
    "blurred": 0.08, "crawl": 0.08, "slide": 0.05, "rise": 0.04, "drift": 0.04, "always": 0.03, "watermark": 0.06,
    "bilingual": 0.06, "vertical": 0.04,
}  # fmt: skip


def random_look(rng: np.random.Generator, hard_share: float = 0.45) -> Look:
    """A style as `random_style` draws it; in `hard_share` of the draws with something done to it that makes it hard."""
    look = Look(style=random_style(rng))
    if rng.random() >= hard_share:
        return look
    return _harder(look, str(rng.choice(list(_HARD), p=list(_HARD.values()))), rng)


def _harder(look: Look, kind: str, rng: np.random.Generator) -> Look:
    """`look` with what makes the named look that one, at a strength that is drawn."""
    named, style = LOOKS[kind], look.style
    strength = float(rng.uniform(0.5, 1.5))
    effects = replace(
        named.effects,
        glow_share=named.effects.glow_share * strength,
        emboss=min(named.effects.emboss * strength, 1.0),
        smear_share=named.effects.smear_share * strength,
    )
    motion = replace(
        named.motion, speed_share=named.motion.speed_share * strength, shutter_us=int(rng.choice([0, 5_000, 10_000]))
    )
    if kind == "translucent":
        style = replace(style, opacity=float(rng.uniform(0.25, 0.7)))
    elif kind == "gradient":
        style = replace(style, gradient_to=_colour(rng))
    elif kind == "glow":
        effects = replace(effects, glow_colour=_colour(rng))
    elif kind == "watermark":
        style = replace(style, opacity=float(rng.uniform(0.15, 0.5)), margin_share=float(rng.uniform(0.05, 0.8)))
    elif kind == "scene":
        style = replace(style, box_alpha=0.0, outline_share=style.outline_share / 2)
    elif kind == "hollow":
        style = replace(style, outline_share=max(style.outline_share, 0.05))
    return replace(named, style=style, effects=effects, motion=motion)


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue
