"""Lines of text to an RGBA overlay, with Pillow."""

from __future__ import annotations

import numpy as np

from clear_rt.burn.fonts import FontFace
from clear_rt.burn.letters import embossed, fill
from clear_rt.burn.looks import Look
from clear_rt.burn.overlay import Overlay, blend, clip, faded
from clear_rt.burn.pillow import Image, ImageDraw, ImageFilter
from clear_rt.burn.scripts import Script
from clear_rt.burn.styles import Colour, Style
from clear_rt.burn.typeset import Line, Setting, open_face, typeset

__all__ = ["Overlay", "blend", "draw", "render"]


def render(
    lines: list[str],
    script: Script,
    style: Style,
    face: FontFace,
    width_px: int,
    height_px: int,
    sung_share: float = 0.5,
) -> Overlay:
    """Draw one or more centred lines for a picture of width_px x height_px; lines too long are set smaller.

    `sung_share` (0..1) is how much of a karaoke line carries the karaoke colour, in reading direction.

    Raises:
        ConfigError: the face is no readable font, or this Pillow cannot shape text.
    """
    look = Look(style=style)
    setting = typeset([Line(text, script, face) for text in lines], look, width_px, height_px)
    return clip(draw(setting, look, sung_share), width_px, height_px)


def draw(setting: Setting, look: Look, sung_share: float = 0.5) -> Overlay:
    """The whole canvas of a setting at its place of rest; it may reach beyond the picture."""
    size = setting.width_px, setting.height_px
    letters, grown = Image.new("L", size), Image.new("L", size)
    for placed in setting.lines:
        script = placed.line.script
        for picture_of, stroke in ((letters, 0), (grown, setting.stroke_px)):
            ImageDraw.Draw(picture_of).text(
                (placed.x_px, placed.y_px),
                placed.line.text,
                fill=255,
                font=open_face(placed.line.face, placed.size_px),
                anchor="mt" if setting.vertical else "mm",
                direction="ttb" if setting.vertical else script.direction,
                language=script.language,
                stroke_width=stroke,
                stroke_fill=255 if stroke else None,
            )
    rgba = np.array(_layers(letters, grown, setting, look, sung_share))
    return faded(Overlay(rgba, setting.x_px, setting.y_px), look.style.opacity)


def _layers(letters: Image.Image, grown: Image.Image, setting: Setting, look: Look, sung_share: float) -> Image.Image:
    """Box, glow, shadow, outline and fill, each over the one before."""
    style, effects, size = look.style, look.effects, letters.size
    picture = Image.new("RGBA", size)
    if style.box_alpha > 0:
        picture = _over(picture, style.box_colour, _box(setting, style))
    if effects.glow_share > 0:
        halo = grown.filter(ImageFilter.GaussianBlur(setting.glow_px)).point(lambda v: min(2 * v, 255))
        picture = _over(picture, effects.glow_colour, halo)
    if setting.shadow_px:
        shadow = Image.new("L", size)
        shadow.paste(grown, (setting.shadow_px, setting.shadow_px))
        shadow = shadow.filter(ImageFilter.GaussianBlur(setting.blur_px)) if setting.blur_px else shadow
        picture = _over(picture, (0, 0, 0), shadow.point(lambda v: v * style.shadow_alpha))
    if style.outline_share > 0:
        picture = _over(picture, style.outline_colour, grown)
    colours = fill(*size, style, sung_share, setting.lines[0].line.script.direction, setting.vertical)
    if effects.emboss > 0:
        colours = embossed(colours, letters, max(setting.size_px / 24, 1), effects.emboss)
    if effects.fill_alpha == 1:
        return _over(picture, colours, letters)
    return _see_through(picture, colours, letters, effects.fill_alpha)


def _over(base: Image.Image, colour: Colour | Image.Image, alpha: Image.Image) -> Image.Image:
    layer = colour.copy() if isinstance(colour, Image.Image) else Image.new("RGB", base.size, colour)
    layer.putalpha(alpha)
    return Image.alpha_composite(base, layer)


def _see_through(base: Image.Image, colours: Image.Image, letters: Image.Image, alpha: float) -> Image.Image:
    """Letters that let the video through: what lies under them is taken away first."""
    layer = colours.copy()
    layer.putalpha(Image.new("L", base.size, round(255 * alpha)))
    return Image.composite(layer, base, letters)


def _box(setting: Setting, style: Style) -> Image.Image:
    size = setting.width_px, setting.height_px
    inset = max(setting.pad_px - round(style.box_padding_share * setting.size_px), 0)
    alpha = Image.new("L", size)
    ImageDraw.Draw(alpha).rectangle(
        (inset, inset, size[0] - inset - 1, size[1] - inset - 1), fill=round(255 * style.box_alpha)
    )
    return alpha
