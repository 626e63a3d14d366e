"""When the GPU worked and when it waited during a run from file to file, as a picture and as a share of the time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from clear_rt.bench.canvas import Canvas, Colour
from clear_rt.frames import write_png
from clear_rt.runtime.cuda.graphs import Played

INK, IDLE = (30, 30, 30), (235, 235, 235)
COLOURS: dict[str, Colour] = {"encode": (86, 180, 233), "step": (213, 94, 0), "decode": (0, 114, 178)}
WIDTH_PX, ROW_PX, MARGIN_PX, ROWS = 1600, 46, 40, 8


class Span(NamedTuple):
    """Milliseconds from the first replay on."""

    name: str
    begin_ms: float
    end_ms: float


def spans(played: Sequence[Played]) -> list[Span]:
    """Replays in order. Waits for the GPU."""
    torch.cuda.synchronize()
    first = played[0].begun
    return [Span(p.name, first.elapsed_time(p.begun), first.elapsed_time(p.ended)) for p in played]


def steady(found: Sequence[Span], windows: int, steps: int) -> list[Span]:
    """From the first step of the second window to the last step of the last: neither filling nor draining.

    Raises ValueError where there are fewer steps than the windows have.
    """
    places = [i for i, span in enumerate(found) if span.name == "step"]
    if len(places) < windows * steps:
        raise ValueError(f"expected {windows * steps} steps, found {len(places)}")
    return list(found[places[steps] : places[-1] + 1])


def idle_share(found: Sequence[Span]) -> float:
    """Of the time from the first begin to the last end, in which no replay ran."""
    whole = found[-1].end_ms - found[0].begin_ms
    return 1 - sum(span.end_ms - span.begin_ms for span in found) / whole


def draw(path: Path, found: Sequence[Span], title: str) -> None:
    """The spans line by line, what is idle in grey."""
    canvas = Canvas(WIDTH_PX, 2 * MARGIN_PX + 110 + ROWS * (ROW_PX + 14))
    canvas.text(MARGIN_PX, MARGIN_PX, title, INK)
    x = MARGIN_PX
    for name, colour in (*COLOURS.items(), ("idle", IDLE)):
        canvas.fill(x, MARGIN_PX + 44, canvas.letter_px, canvas.letter_px, colour)
        canvas.text(x + canvas.letter_px + 8, MARGIN_PX + 44, name, INK)
        x += canvas.letter_px + canvas.wide(name) + 40
    first, last = found[0].begin_ms, found[-1].end_ms
    row_ms, across = (last - first) / ROWS, WIDTH_PX - 2 * MARGIN_PX
    top = MARGIN_PX + 100
    for row in range(ROWS):
        y, begin = top + row * (ROW_PX + 14), first + row * row_ms
        canvas.fill(MARGIN_PX, y, across, ROW_PX, IDLE)
        for span in found:
            left, right = max(span.begin_ms, begin), min(span.end_ms, begin + row_ms)
            if left < right:
                per_ms = across / row_ms
                place = MARGIN_PX + (left - begin) * per_ms
                canvas.fill(place, y, (right - left) * per_ms, ROW_PX, COLOURS[span.name])
    canvas.text(MARGIN_PX, top + ROWS * (ROW_PX + 14), f"a line is {row_ms:.0f} ms", INK)
    write_png(path, canvas.pixels)
