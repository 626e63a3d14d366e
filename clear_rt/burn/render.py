"""Lines of text to an RGBA overlay, with Pillow. Shared by `clear-rt burn` and by the training data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clear_rt.burn.fonts import FontFace
from clear_rt.burn.pillow import Image, ImageDraw, ImageFilter, ImageFont, features
from clear_rt.burn.scripts import Script
from clear_rt.burn.styles import Colour, Style
from clear_rt.errors import ConfigError

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Overlay:
    """`rgba` uint8 [h, w, 4], straight alpha, and where its corner sits in the picture."""

    rgba: UInt8
    x_px: int
    y_px: int


def open_face(face: FontFace, size_px: int) -> ImageFont.FreeTypeFont:
    """The face at a size of at least 4 pixels. Raises ConfigError where the file is no font that FreeType reads."""
    try:
        return ImageFont.truetype(str(face.path), max(size_px, 4), index=face.index)
    except OSError as error:
        raise ConfigError(f"{face.path} cannot be read as a font ({error}); give a .ttf, .otf or .ttc file") from error


def _width(font: ImageFont.FreeTypeFont, lines: list[str], script: Script) -> float:
    return max(font.getlength(line, direction=script.direction, language=script.language) for line in lines)


def _fill(width_px: int, height_px: int, style: Style, sung_share: float, direction: str) -> Image.Image:
    """The colour under the letters: flat, a vertical gradient, or two parts of a karaoke line."""
    top = np.array(style.colour, np.float32)
    bottom = np.array(style.gradient_to or style.colour, np.float32)
    column = top + (bottom - top) * np.linspace(0, 1, height_px, dtype=np.float32)[:, None]
    picture = np.repeat(column[:, None], width_px, axis=1)
    if style.karaoke is not None:
        sung_px = round(width_px * sung_share)
        picture[:, width_px - sung_px if direction == "rtl" else 0 :][:, :sung_px] = style.karaoke
    return Image.fromarray(picture.astype(np.uint8), "RGB")


def _over(base: Image.Image, colour: Colour | Image.Image, alpha: Image.Image) -> Image.Image:
    layer = colour.copy() if isinstance(colour, Image.Image) else Image.new("RGB", base.size, colour)
    layer.putalpha(alpha)
    return Image.alpha_composite(base, layer)


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
    if not features.check("raqm"):
        raise ConfigError("this Pillow cannot shape text (no libraqm); pip install --force-reinstall pillow brings one")
    size_px = max(round(style.size_share * height_px), 6)
    font = open_face(face, size_px)
    widest = _width(font, lines, script)
    if widest > 0.94 * width_px:
        size_px = max(int(size_px * 0.94 * width_px / widest), 5)
        font = open_face(face, size_px)
    stroke_px = round(style.outline_share * size_px)
    stroke_px = max(stroke_px, 1) if style.outline_share > 0 else 0
    shadow_px = max(round(style.shadow_share * size_px), 1) if style.shadow_share > 0 else 0
    blur_px = style.shadow_blur_share * size_px
    pad_px = stroke_px + shadow_px + round(3 * blur_px) + round(style.box_padding_share * size_px) + 2

    pitch_px = round(size_px * 1.3)
    size = (int(_width(font, lines, script)) + 2 + 2 * pad_px, pitch_px * len(lines) + 2 * pad_px)
    letters, grown = Image.new("L", size), Image.new("L", size)
    for row, line in enumerate(lines):
        for picture_of, stroke in ((letters, 0), (grown, stroke_px)):
            ImageDraw.Draw(picture_of).text(
                (size[0] / 2, pad_px + (row + 0.5) * pitch_px),
                line,
                fill=255,
                font=font,
                anchor="mm",
                direction=script.direction,
                language=script.language,
                stroke_width=stroke,
                stroke_fill=255 if stroke else None,
            )
    rgba = np.array(_layers(letters, grown, style, script, size_px, pad_px, sung_share))
    rgba[..., 3] = np.round(rgba[..., 3] * style.opacity).astype(np.uint8)
    x_px = round((width_px - size[0]) / 2 + style.shift_share * width_px)
    edge_px = round(style.margin_share * height_px)
    y_px = edge_px - pad_px if style.top else height_px - edge_px - size[1] + pad_px
    return _clip(Overlay(rgba, x_px, y_px), width_px, height_px)


def _layers(
    letters: Image.Image,
    grown: Image.Image,
    style: Style,
    script: Script,
    size_px: int,
    pad_px: int,
    sung_share: float,
) -> Image.Image:
    """Box, shadow, outline and fill, each over the one before."""
    size = letters.size
    shadow_px = max(round(style.shadow_share * size_px), 1) if style.shadow_share > 0 else 0
    blur_px = style.shadow_blur_share * size_px
    picture = Image.new("RGBA", size)
    if style.box_alpha > 0:
        picture = _over(picture, style.box_colour, _box(size, pad_px, style, size_px))
    if shadow_px:
        shadow = Image.new("L", size)
        shadow.paste(grown, (shadow_px, shadow_px))
        shadow = shadow.filter(ImageFilter.GaussianBlur(blur_px)) if blur_px else shadow
        picture = _over(picture, (0, 0, 0), shadow.point(lambda v: v * style.shadow_alpha))
    if style.outline_share > 0:
        picture = _over(picture, style.outline_colour, grown)
    return _over(picture, _fill(*size, style, sung_share, script.direction), letters)


def _box(size: tuple[int, int], pad_px: int, style: Style, size_px: int) -> Image.Image:
    inset = max(pad_px - round(style.box_padding_share * size_px), 0)
    alpha = Image.new("L", size)
    ImageDraw.Draw(alpha).rectangle(
        (inset, inset, size[0] - inset - 1, size[1] - inset - 1), fill=round(255 * style.box_alpha)
    )
    return alpha


def _clip(overlay: Overlay, width_px: int, height_px: int) -> Overlay:
    left, top = max(-overlay.x_px, 0), max(-overlay.y_px, 0)
    right = min(overlay.rgba.shape[1], width_px - overlay.x_px)
    bottom = min(overlay.rgba.shape[0], height_px - overlay.y_px)
    rgba = overlay.rgba[top : max(bottom, top), left : max(right, left)]
    return Overlay(rgba, overlay.x_px + left, overlay.y_px + top)


def blend(rgb: UInt8, overlay: Overlay, opacity: float = 1.0) -> UInt8:
    """A copy of `rgb` uint8 [H, W, 3] with the overlay drawn over it; `opacity` 0..1 serves fades."""
    out = rgb.copy()
    height, width = overlay.rgba.shape[:2]
    window = out[overlay.y_px : overlay.y_px + height, overlay.x_px : overlay.x_px + width]
    alpha = overlay.rgba[..., 3:].astype(np.float32) * (opacity / 255)
    window[:] = np.round(window + (overlay.rgba[..., :3] - window.astype(np.float32)) * alpha).astype(np.uint8)
    return out
