"""The lower half of a chart: TFLOP/s over FLOP per byte, both logarithmic, under what copies and products reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clear_rt.bench.canvas import Canvas, Colour, Place
from clear_rt.bench.document import Document
from clear_rt.bench.tables import figure

LEAST_HEIGHT_PX = 560
_LEFT_PX, _BELOW_PX, _RIGHT_PX = 120, 70, 60
_INK, _FAINT, _ROOF = (30, 30, 30), (225, 225, 225), (120, 120, 120)
_DOT_PX = 22


@dataclass(frozen=True, slots=True)
class _Point:
    stage: str
    mark: str
    intensity: float
    tflops: float


@dataclass(frozen=True, slots=True)
class _Axes:
    """Powers of ten that both axes run over, and where they lie."""

    x_powers: tuple[int, int]
    y_powers: tuple[int, int]
    left: float
    top: float
    right: float
    bottom: float

    def place(self, intensity: float, tflops: float) -> Place:
        x = (math.log10(intensity) - self.x_powers[0]) / (self.x_powers[1] - self.x_powers[0])
        y = (math.log10(tflops) - self.y_powers[0]) / (self.y_powers[1] - self.y_powers[0])
        return self.left + x * (self.right - self.left), self.bottom - y * (self.bottom - self.top)


def draw_roofline(canvas: Canvas, document: Document, colours: Mapping[str, Colour], top: int) -> None:
    """Draws nothing but a sentence where no arithmetic was counted."""
    points = _points(document["profiles"])
    canvas.text(40, top, "Roofline: TFLOP/s over FLOP per byte of the networks, under what was measured here", _INK)
    if not points:
        canvas.text(40, top + 40, "No arithmetic was counted: see the table.", _INK)
        return
    rates, copy = document["ceilings"]["matrix_tflops"], document["ceilings"]["copy_gb_per_s"]
    axes = _axes(points, rates, copy, canvas, top + 40)
    _grid(canvas, axes)
    _roof(canvas, axes, rates, copy)
    for point in points:
        x, y = axes.place(point.intensity, point.tflops)
        canvas.fill(x - _DOT_PX / 2, y - _DOT_PX / 2, _DOT_PX, _DOT_PX, colours[point.stage])
        canvas.text(x, y - canvas.letter_px / 2, point.mark, (255, 255, 255), side="middle")
    for i, profile in enumerate(document["profiles"]):
        canvas.text(axes.left + 14, axes.top + 14 + 24 * i, f"{_mark(i)}  {profile['profile']}", _INK)


def _mark(i: int) -> str:
    return str(i + 1) if i < 9 else chr(ord("a") + (i - 9) % 26)


def _points(profiles: list[dict[str, Any]]) -> list[_Point]:
    return [
        _Point(name, _mark(i), stage["flop"] / stage["bytes"], stage["tflop_per_s"])
        for i, profile in enumerate(profiles)
        for name, stage in profile["stages"].items()
        if "flop" in stage
    ]


def _axes(points: list[_Point], rates: Mapping[str, float], copy_gb_per_s: float, canvas: Canvas, top: int) -> _Axes:
    height, width = canvas.pixels.shape[:2]
    intensities = [point.intensity for point in points]
    # The ridge, where the roof bends, is always in sight.
    intensities += [1e3 * rate / copy_gb_per_s for rate in rates.values()]
    tflops = [point.tflops for point in points] + list(rates.values())
    return _Axes(_powers(intensities), _powers(tflops), _LEFT_PX, top, width - _RIGHT_PX, height - _BELOW_PX)


def _powers(values: list[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    return low, max(high, low + 1)


def _grid(canvas: Canvas, axes: _Axes) -> None:
    for power in range(axes.x_powers[0], axes.x_powers[1] + 1):
        x, _ = axes.place(10.0**power, 10.0 ** axes.y_powers[0])
        canvas.line((x, axes.top), (x, axes.bottom), _FAINT)
        canvas.text(x, axes.bottom + 12, f"{10.0**power:g}", _INK, side="middle")
    for power in range(axes.y_powers[0], axes.y_powers[1] + 1):
        _, y = axes.place(10.0 ** axes.x_powers[0], 10.0**power)
        canvas.line((axes.left, y), (axes.right, y), _FAINT)
        canvas.text(axes.left - 12, y - canvas.letter_px / 2, f"{10.0**power:g}", _INK, side="right")
    canvas.text((axes.left + axes.right) / 2, axes.bottom + 40, "FLOP per byte", _INK, side="middle")


def _roof(canvas: Canvas, axes: _Axes, rates: Mapping[str, float], copy_gb_per_s: float) -> None:
    """Up with the copy, level with each matrix product."""
    least = 10.0 ** axes.x_powers[0]
    ridge = 1e3 * max(rates.values()) / copy_gb_per_s
    # TFLOP/s at so many FLOP per byte, and where that enters the picture.
    enters = max(least, 1e3 * 10.0 ** axes.y_powers[0] / copy_gb_per_s)
    foot, top = axes.place(enters, enters * copy_gb_per_s / 1e3), axes.place(ridge, max(rates.values()))
    canvas.line(foot, top, _ROOF, thick_px=3)
    x, y = axes.place(math.sqrt(enters * ridge), math.sqrt(enters * ridge) * copy_gb_per_s / 1e3)
    canvas.text(x + 12, y + 10, f"copy {copy_gb_per_s:.0f} GB/s", _INK)
    for name, rate in rates.items():
        begin = axes.place(1e3 * rate / copy_gb_per_s, rate)
        canvas.line(begin, axes.place(10.0 ** axes.x_powers[1], rate), _ROOF, thick_px=3)
        # Beside the slope, which goes on above all roofs but the highest.
        canvas.text(begin[0] + 70, begin[1] - 24, f"{name} {figure(rate)} TFLOP/s", _INK)
