"""The colours of letters: flat, a gradient, the two parts of a karaoke line, and edges in relief."""

from __future__ import annotations

import numpy as np

from clear_rt.burn.pillow import Image, ImageChops, ImageFilter
from clear_rt.burn.styles import Style

_RELIEF_LEVELS = 170.0


def fill(
    width_px: int, height_px: int, style: Style, sung_share: float, direction: str, vertical: bool = False
) -> Image.Image:
    """The colour under the letters. What is sung begins at the right in "rtl" and at the top in columns."""
    top = np.array(style.colour, np.float32)
    bottom = np.array(style.gradient_to or style.colour, np.float32)
    column = top + (bottom - top) * np.linspace(0, 1, height_px, dtype=np.float32)[:, None]
    picture = np.repeat(column[:, None], width_px, axis=1)
    if style.karaoke is not None and vertical:
        picture[: round(height_px * sung_share)] = style.karaoke
    elif style.karaoke is not None:
        sung_px = round(width_px * sung_share)
        picture[:, width_px - sung_px if direction == "rtl" else 0 :][:, :sung_px] = style.karaoke
    return Image.fromarray(picture.astype(np.uint8), "RGB")


def embossed(colours: Image.Image, letters: Image.Image, depth_px: float, strength: float) -> Image.Image:
    """`colours` with edges of `letters` lit from the upper left; `strength` 0..1."""
    soft = letters.filter(ImageFilter.GaussianBlur(depth_px))
    shift = max(round(depth_px), 1)
    lit, dark = ImageChops.offset(soft, shift, shift), ImageChops.offset(soft, -shift, -shift)
    slope = (np.asarray(dark, np.float32) - np.asarray(lit, np.float32)) / 255
    relief = np.asarray(colours, np.float32) + strength * _RELIEF_LEVELS * slope[..., None]
    return Image.fromarray(np.clip(relief, 0, 255).astype(np.uint8), "RGB")
