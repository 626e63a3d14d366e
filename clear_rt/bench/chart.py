"""A document as a picture: above what every stage adds to a frame, below how close networks come to the ceilings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_rt.bench.canvas import Canvas, Colour, Side
from clear_rt.bench.chart_roofline import LEAST_HEIGHT_PX, draw_roofline
from clear_rt.bench.document import Document, machine_of
from clear_rt.bench.tables import figure, ms_per_frame

INK, FAINT = (30, 30, 30), (215, 215, 215)
COLOURS: dict[str, Colour] = {
    "video decode": (170, 170, 170),
    "prior": (237, 177, 32),
    "VAE encode": (86, 180, 233),
    "DiT control": (120, 94, 160),
    "DiT step": (213, 94, 0),
    "VAE decode": (0, 114, 178),
    "composite": (0, 158, 115),
    "video encode": (90, 90, 90),
}
WIDTH_PX, MARGIN_PX = 1400, 40
_BAR_PX, _GAP_PX = 34, 22
# What real time asks for.
_MARKS_FPS = (25, 30)


def draw(document: Document) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]."""
    profiles = document["profiles"]
    bars_px = (_BAR_PX + _GAP_PX) * len(profiles)
    canvas = Canvas(WIDTH_PX, 260 + bars_px + LEAST_HEIGHT_PX + 2 * MARGIN_PX)
    about = f"{document['bundle']['name']}, {document['engine']}, {document['precision']}, {machine_of(document)}"
    canvas.text(MARGIN_PX, MARGIN_PX, f"clear-rt bench: {about}", INK)
    canvas.text(MARGIN_PX, MARGIN_PX + 45, "Milliseconds per new frame, stage by stage, none of them overlapped", INK)
    _legend(canvas, MARGIN_PX + 80)
    bottom = _bars(canvas, profiles, MARGIN_PX + 150)
    draw_roofline(canvas, document, COLOURS, bottom + 60)
    return canvas.pixels


def _legend(canvas: Canvas, top: int) -> None:
    x = MARGIN_PX
    for name, colour in COLOURS.items():
        canvas.fill(x, top, canvas.letter_px, canvas.letter_px, colour)
        canvas.text(x + canvas.letter_px + 8, top, name, INK)
        x += canvas.letter_px + 8 + canvas.wide(name) + 26


def _bars(canvas: Canvas, profiles: list[dict[str, Any]], top: int) -> int:
    """Returns the row below them."""
    left = MARGIN_PX + max(canvas.wide(profile["profile"]) for profile in profiles) + 16
    right = WIDTH_PX - MARGIN_PX - 230
    parts = [{name: ms_per_frame(profile, name) for name in profile["stages"]} for profile in profiles]
    longest_ms = max(sum(each.values()) for each in parts)
    per_ms = (right - left) / longest_ms
    bottom = top + (_BAR_PX + _GAP_PX) * len(profiles)
    for fps in _MARKS_FPS:
        x = left + 1000 / fps * per_ms
        if x <= right:
            canvas.line((x, top - 8), (x, bottom), FAINT)
            # One mark's name to the left of its line, the other's to the right: they are close together.
            side: Side = "left" if fps == min(_MARKS_FPS) else "right"
            canvas.text(x + (4 if side == "left" else -4), top - 26, f"{fps} fps", INK, side=side)
    for i, (profile, each) in enumerate(zip(profiles, parts, strict=True)):
        y, x = top + i * (_BAR_PX + _GAP_PX), float(left)
        canvas.text(MARGIN_PX, y + (_BAR_PX - canvas.letter_px) / 2, profile["profile"], INK)
        for name, milliseconds in each.items():
            canvas.fill(x, y, milliseconds * per_ms, _BAR_PX, COLOURS[name])
            x += milliseconds * per_ms
        total = sum(each.values())
        canvas.text(x + 10, y + (_BAR_PX - canvas.letter_px) / 2, f"{figure(total)} ms", INK)
    return bottom
