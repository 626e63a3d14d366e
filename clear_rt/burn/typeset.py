"""Lines of text to sizes and places: what every renderer draws by. Lengths in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clear_rt.burn.fonts import FontFace
from clear_rt.burn.looks import Look
from clear_rt.burn.pillow import ImageFont, features
from clear_rt.burn.scripts import Script
from clear_rt.burn.styles import Style
from clear_rt.errors import ConfigError

_WIDEST_SHARE, _LONGEST_SHARE = 0.94, 0.9
_PITCH = 1.3
_SMALLEST_PX = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line, what shapes it and the font that shows it; `scale` is its size as a share of the caption's."""

    text: str
    script: Script
    face: FontFace
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class SetLine:
    """A line at `size_px`; x_px, y_px is the middle of a line, or the middle of the top of a column."""

    line: Line
    size_px: int
    x_px: float
    y_px: float


@dataclass(frozen=True, slots=True)
class Setting:
    """Lines placed on a canvas of width_px x height_px, whose corner sits at x_px, y_px of the picture at rest.

    The canvas has a margin of `pad_px` for outline (`stroke_px` wide), shadow, glow and box.
    """

    lines: tuple[SetLine, ...]
    vertical: bool
    size_px: int
    pad_px: int
    stroke_px: int
    shadow_px: int
    blur_px: float
    glow_px: float
    width_px: int
    height_px: int
    x_px: int
    y_px: int


def open_face(face: FontFace, size_px: int) -> ImageFont.FreeTypeFont:
    """The face at a size of at least 4 pixels. Raises ConfigError where the file is no font that FreeType reads."""
    try:
        return ImageFont.truetype(str(face.path), max(size_px, 4), index=face.index)
    except OSError as error:
        raise ConfigError(f"{face.path} cannot be read as a font ({error}); give a .ttf, .otf or .ttc file") from error


def typeset(lines: Sequence[Line], look: Look, width_px: int, height_px: int) -> Setting:
    """Place `lines` for a picture of width_px x height_px; lines too long are set smaller, unless they crawl.

    Raises:
        ConfigError: a face is no readable font, or this Pillow cannot shape text.
    """
    if not features.check("raqm"):
        raise ConfigError("this Pillow cannot shape text (no libraqm); pip install --force-reinstall pillow brings one")
    size_px = max(round(look.style.size_share * height_px), 6)
    longest = max(_length(line, size_px, look.vertical) for line in lines)
    limit_px = _LONGEST_SHARE * height_px if look.vertical else _WIDEST_SHARE * width_px
    if longest > limit_px and look.motion.kind != "crawl":
        size_px = max(int(size_px * limit_px / longest), _SMALLEST_PX)
    setting = _margins(look, size_px)
    if look.vertical:
        return _columns(lines, setting, look.style, width_px, height_px)
    return _rows(lines, setting, look.style, width_px, height_px)


def _length(line: Line, size_px: int, vertical: bool) -> float:
    font = open_face(line.face, _scaled(line, size_px))
    direction = "ttb" if vertical else line.script.direction
    return float(font.getlength(line.text, direction=direction, language=line.script.language))


def _scaled(line: Line, size_px: int) -> int:
    return size_px if line.scale == 1 else max(round(size_px * line.scale), _SMALLEST_PX)


def _margins(look: Look, size_px: int) -> Setting:
    """A setting without lines yet."""
    style, effects = look.style, look.effects
    stroke_px = max(round(style.outline_share * size_px), 1) if style.outline_share > 0 else 0
    shadow_px = max(round(style.shadow_share * size_px), 1) if style.shadow_share > 0 else 0
    blur_px, glow_px = style.shadow_blur_share * size_px, effects.glow_share * size_px
    pad_px = stroke_px + shadow_px + round(3 * max(blur_px, glow_px)) + round(style.box_padding_share * size_px) + 2
    return Setting((), look.vertical, size_px, pad_px, stroke_px, shadow_px, blur_px, glow_px, 0, 0, 0, 0)


def _rows(lines: Sequence[Line], setting: Setting, style: Style, width_px: int, height_px: int) -> Setting:
    pad_px = setting.pad_px
    canvas_px = int(max(_length(line, setting.size_px, False) for line in lines)) + 2 + 2 * pad_px
    placed, y_px = [], pad_px
    for line in lines:
        size_px = _scaled(line, setting.size_px)
        pitch_px = round(size_px * _PITCH)
        placed.append(SetLine(line, size_px, canvas_px / 2, y_px + pitch_px / 2))
        y_px += pitch_px
    edge_px = round(style.margin_share * height_px)
    return replace(
        setting,
        lines=tuple(placed),
        width_px=canvas_px,
        height_px=y_px + pad_px,
        x_px=round((width_px - canvas_px) / 2 + style.shift_share * width_px),
        y_px=edge_px - pad_px if style.top else height_px - edge_px - y_px,
    )


def _columns(lines: Sequence[Line], setting: Setting, style: Style, width_px: int, height_px: int) -> Setting:
    """From the right edge to the left, or the whole block at the left edge where the style says top."""
    pad_px = setting.pad_px
    length_px = int(max(_length(line, setting.size_px, True) for line in lines)) + 2
    pitches_px = [round(_scaled(line, setting.size_px) * _PITCH) for line in lines]
    canvas_px = sum(pitches_px) + 2 * pad_px
    placed, right_px = [], canvas_px - pad_px
    for line, pitch_px in zip(lines, pitches_px, strict=True):
        placed.append(SetLine(line, _scaled(line, setting.size_px), right_px - pitch_px / 2, pad_px))
        right_px -= pitch_px
    edge_px = round(style.margin_share * height_px)
    return replace(
        setting,
        lines=tuple(placed),
        width_px=canvas_px,
        height_px=length_px + 2 * pad_px,
        x_px=edge_px - pad_px if style.top else width_px - edge_px - canvas_px + pad_px,
        y_px=round((height_px - length_px) / 2) - pad_px,
    )
