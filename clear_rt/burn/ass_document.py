"""A setting as an .ass document: an event for every layer of every line, so that libass draws what Pillow would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from clear_rt.burn.font_facts import font_facts
from clear_rt.burn.looks import Look
from clear_rt.burn.styles import Colour
from clear_rt.burn.typeset import SetLine, Setting

# The instant that is rendered: karaoke is a fill that has come this far by then.
PROBE_CS = 1000
_GRADIENT_BANDS = 24
# Standard deviation of the blur that \\blur1 makes: 2 / sqrt(ln 256).
_BLUR_SIGMA = 0.85
_HEADER = """[Script Info]
ScriptType: v4.00+
PlayResX: {width}
PlayResY: {height}
WrapStyle: 2
ScaledBorderAndShadow: yes

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,{font},20,&H00FFFFFF,&H00FFFFFF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,0,0,5,0,0,0,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def ass_document(setting: Setting, look: Look, sung_share: float, margin_px: int) -> str:
    """The document for a canvas that has `margin_px` more on every side than the setting's.

    `sung_share` (0..1) of a karaoke line is sung at PROBE_CS hundredths of a second.
    """
    head = _HEADER.format(
        width=setting.width_px + 2 * margin_px,
        height=setting.height_px + 2 * margin_px,
        font=font_facts(setting.lines[0].line.face).name,
    )
    events = []
    if look.style.box_alpha > 0:
        events.append(_event(0, _box(setting, look, margin_px)))
    for line in setting.lines:
        facts = font_facts(line.line.face)
        font = f"\\an{8 if setting.vertical else 5}\\fn{facts.name}\\fs{facts.line_share * line.size_px:.2f}"
        for piece, x_px, y_px in _pieces(line, setting.vertical, margin_px):
            for layer in _layers(setting, look, line, sung_share, y_px):
                place = f"\\pos({x_px + layer.shift_px:.2f},{y_px + layer.shift_px:.2f})"
                events.append(_event(layer.number, "{" + place + font + layer.tags + "}" + _escaped(piece)))
    return head + "\n".join(events) + "\n"


class _Layer(NamedTuple):
    """The line once, with `tags`, moved right and down; higher numbers lie over lower ones."""

    number: int
    tags: str
    shift_px: float = 0.0


def _event(layer: int, text: str) -> str:
    return f"Dialogue: {layer},0:00:00.00,9:00:00.00,Default,,0,0,0,,{text}"


def _layers(setting: Setting, look: Look, line: SetLine, sung_share: float, y_px: float) -> Iterator[_Layer]:
    """Glow, shadow, outline, relief and fill."""
    style, effects, stroke_px = look.style, look.effects, setting.stroke_px
    if effects.glow_share > 0:
        halo = _grown(stroke_px, effects.glow_colour, 1.0) + f"\\blur{setting.glow_px / _BLUR_SIGMA:.2f}"
        yield from (_Layer(1, halo), _Layer(1, halo))
    if setting.shadow_px:
        blur = f"\\blur{setting.blur_px / _BLUR_SIGMA:.2f}" if setting.blur_px else ""
        yield _Layer(2, _grown(stroke_px, (0, 0, 0), style.shadow_alpha) + blur, setting.shadow_px)
    if stroke_px and effects.fill_alpha == 1:
        yield _Layer(3, _grown(stroke_px, style.outline_colour, 1.0))
    if effects.emboss > 0:
        depth_px = max(setting.size_px / 24, 1.0)
        yield _Layer(4, _flat((255, 255, 255), effects.emboss), -depth_px)
        yield _Layer(4, _flat((0, 0, 0), effects.emboss), depth_px)
    if style.gradient_to is not None:
        yield from _gradient(style.colour, style.gradient_to, line, y_px, effects.fill_alpha)
    elif style.karaoke is not None:
        sung = f"\\2c{_bgr(style.colour)}\\kf{round(PROBE_CS / max(sung_share, 0.01))}"
        yield _Layer(5, _flat(style.karaoke, effects.fill_alpha) + sung)
    else:
        # Letters that let the video through have the outline in the same event, where libass leaves it out under them.
        border_px = stroke_px if effects.fill_alpha < 1 else 0
        border = f"\\bord{border_px}\\3c{_bgr(style.outline_colour)}\\3a&H00&"
        yield _Layer(5, _flat(style.colour, effects.fill_alpha) + border)


def _gradient(top: Colour, bottom: Colour, line: SetLine, y_px: float, alpha: float) -> Iterator[_Layer]:
    """The line once for every band of rows, cut to that band."""
    half_px = 0.65 * line.size_px
    for band in range(_GRADIENT_BANDS):
        share = band / (_GRADIENT_BANDS - 1)
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        first, last = (y_px - half_px + 2 * half_px * edge / _GRADIENT_BANDS for edge in (band, band + 1))
        yield _Layer(5, _flat((red, green, blue), alpha) + f"\\clip(-9999,{round(first)},99999,{round(last)})")


def _grown(stroke_px: float, colour: Colour, alpha: float) -> str:
    """Letters and a border in one colour; libass leaves the letters out of a border, so both are drawn."""
    shade = f"\\1c{_bgr(colour)}\\3c{_bgr(colour)}\\1a{_alpha(alpha)}\\3a{_alpha(alpha)}"
    return f"\\bord{stroke_px:.2f}\\shad0{shade}"


def _flat(colour: Colour, alpha: float) -> str:
    return f"\\bord0\\shad0\\1c{_bgr(colour)}\\1a{_alpha(alpha)}"


def _box(setting: Setting, look: Look, margin_px: int) -> str:
    """A drawing that fills the canvas but for what lies beyond the box's padding."""
    style = look.style
    inset = max(setting.pad_px - round(style.box_padding_share * setting.size_px), 0) + margin_px
    right, bottom = setting.width_px + 2 * margin_px - inset, setting.height_px + 2 * margin_px - inset
    path = f"m {inset} {inset} l {right} {inset} {right} {bottom} {inset} {bottom}"
    return f"{{\\an7\\pos(0,0){_flat(style.box_colour, style.box_alpha)}\\p1}}{path}"


def _pieces(line: SetLine, vertical: bool, margin_px: int) -> Iterator[tuple[str, float, float]]:
    """The line and its place; a column character by character, each as high as the font is."""
    if not vertical:
        yield line.line.text, line.x_px + margin_px, line.y_px + margin_px
        return
    for row, char in enumerate(line.line.text):
        yield char, line.x_px + margin_px, line.y_px + margin_px + row * line.size_px


def _escaped(text: str) -> str:
    """A zero-width space keeps a backslash from being read as a tag's; braces become their full-width twins."""
    return text.replace("\\", "\\\u200b").replace("{", "｛").replace("}", "｝")


def _bgr(colour: Colour) -> str:
    red, green, blue = colour
    return f"&H{blue:02X}{green:02X}{red:02X}&"


def _alpha(alpha: float) -> str:
    return f"&H{round(255 * (1 - alpha)):02X}&"
