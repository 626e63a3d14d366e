"""Words for logos, tickers, credits and signs: a script, a face for it, and the letters as a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clear_rt.burn.fonts import FontFace, installed_faces
from clear_rt.burn.overlay import UInt8
from clear_rt.burn.pillow import Image, ImageDraw
from clear_rt.burn.scripts import ALL_SCRIPTS, Script, random_line
from clear_rt.burn.styles import Colour
from clear_rt.burn.typeset import open_face
from clear_rt.errors import ConfigError

_LINE_PITCH = 1.3


@dataclass(frozen=True, slots=True)
class Hand:
    """What words are written with."""

    script: Script
    face: FontFace

    def line(self, rng: np.random.Generator, most_characters: int | None = None) -> str:
        """A line of random words, cut where it is longer."""
        return random_line(self.script, rng)[:most_characters].strip() or "-"


def random_hand(scripts: tuple[str, ...], rng: np.random.Generator) -> Hand:
    """One of `scripts` that some face is installed for. Raises ConfigError where there is none for any."""
    able = [name for name in scripts if installed_faces(name)]
    if not able:
        raise ConfigError(f"no font for {', '.join(scripts)} was found; pip install 'clear-rt[eval]' brings some")
    script = ALL_SCRIPTS[able[int(rng.integers(len(able)))]]
    faces = installed_faces(script.name)
    return Hand(script, faces[int(rng.integers(len(faces)))])


def lettering(text: str, hand: Hand, size_px: int, colour: Colour, outline: Colour | None = None) -> UInt8:
    """`text` on nothing: uint8 [h, w, 4], as high as a line of the font and as wide as the words and a letter more."""
    font = open_face(hand.face, size_px)
    stroke_px = max(round(size_px * 0.06), 1) if outline is not None else 0
    width_px = (
        max(int(font.getlength(text, direction=hand.script.direction, language=hand.script.language)), 1) + size_px
    )
    height_px = round(size_px * _LINE_PITCH) + 2 * stroke_px
    masks = []
    for stroke in (0, stroke_px):
        mask = Image.new("L", (width_px, height_px))
        place = (width_px / 2, height_px / 2)
        ImageDraw.Draw(mask).text(
            place,
            text,
            fill=255,
            font=font,
            anchor="mm",
            direction=hand.script.direction,
            language=hand.script.language,
            stroke_width=stroke,
            stroke_fill=255,
        )
        masks.append(mask)
    letters = Image.new("RGBA", (width_px, height_px), (*colour, 0))
    letters.putalpha(masks[0])
    if outline is None:
        return np.array(letters)
    under = Image.new("RGBA", (width_px, height_px), (*outline, 0))
    under.putalpha(masks[1])
    return np.array(Image.alpha_composite(under, letters))


def random_colour(rng: np.random.Generator, low: int = 0, high: int = 255) -> Colour:
    """Any colour with channels from `low` to `high`."""
    red, green, blue = (int(value) for value in rng.integers(low, high + 1, 3))
    return red, green, blue


def stacked(parts: list[UInt8], align: str = "middle") -> UInt8:
    """Pictures with alpha one below another, their left edges ("left") or their middles in line."""
    width = max(part.shape[1] for part in parts)
    rows = []
    for part in parts:
        before = 0 if align == "left" else (width - part.shape[1]) // 2
        rows.append(np.pad(part, ((0, 0), (before, width - part.shape[1] - before), (0, 0))))
    return np.concatenate(rows)


def over(base: UInt8, top: UInt8, x_px: int, y_px: int) -> UInt8:
    """A copy of `base` with `top` laid over it, both uint8 [h, w, 4]; what reaches beyond is cut off."""
    picture = Image.fromarray(base)
    layer = Image.new("RGBA", picture.size)
    layer.paste(Image.fromarray(top), (x_px, y_px))
    return np.array(Image.alpha_composite(picture, layer))
