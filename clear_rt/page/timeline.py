"""Regions on a line of time, as SVG: what was encoded again with text taken out, and what was not touched."""

from __future__ import annotations

from html import escape

from clear_rt.report import Report

_WIDTH, _ROW = 1000, 22
_TICKS = 6


def timeline(report: Report) -> str:
    """A row for every box, a bar for every stretch of frames that has text in it."""
    boxes = sorted({run.box for run in report.runs})
    duration_us = max(report.duration_us, 1)
    height = _ROW * (len(boxes) + 1)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="regions over time">']
    for row, box in enumerate(boxes):
        y = row * _ROW
        parts.append(f'<rect class="lane" x="0" y="{y + 3}" width="{_WIDTH}" height="{_ROW - 6}"/>')
        for run, (start_us, stop_us) in zip(report.runs, report.intervals_us, strict=True):
            if run.box == box:
                x, width = _WIDTH * start_us / duration_us, _WIDTH * (stop_us - start_us) / duration_us
                title = escape(f"{clock(start_us)} to {clock(stop_us)}, {named(box)}")
                parts.append(
                    f'<rect class="text" x="{x:.2f}" y="{y + 3}" width="{max(width, 1):.2f}" height="{_ROW - 6}">'
                    f"<title>{title}</title></rect>"
                )
    for tick in range(_TICKS + 1):
        x = _WIDTH * tick / _TICKS
        anchor = "start" if tick == 0 else "end" if tick == _TICKS else "middle"
        label = clock(duration_us * tick // _TICKS)
        parts.append(f'<text x="{x:.0f}" y="{height - 6}" text-anchor="{anchor}">{label}</text>')
    return "".join([*parts, "</svg>"])


def clock(time_us: int) -> str:
    """1:02:03.4"""
    tenths = round(time_us / 100_000)
    seconds, tenth = divmod(tenths, 10)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}.{tenth}" if hours else f"{minute}:{second:02d}.{tenth}"


def named(box: object) -> str:
    """A box as the command line takes it."""
    return ",".join(str(getattr(box, name)) for name in ("x_px", "y_px", "width_px", "height_px"))
