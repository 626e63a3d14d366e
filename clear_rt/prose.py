"""What the commands say to people: a sentence or a table, as text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from clear_rt.report import Report

if TYPE_CHECKING:
    from clear_rt.batch import Done
    from clear_rt.forecast import Forecast


def summary(report: Report) -> str:
    """One sentence on a run."""
    speed = f"{report.seconds:.1f} s, {report.fps:.1f} fps"
    if report.video_copied:
        return f"{report.target}: no text found in {report.frames} frames, every stream copied as it is; {speed}"
    return (
        f"{report.target}: text removed from {report.frames_changed} of {report.frames} frames, "
        f"{_counted(len(report.runs), 'region run')}, {_fill(report)}, {_coders(report)}{_kept(report)}; {speed}"
    )


def batch(results: Sequence[Done]) -> str:
    """A line for every video, and how many there were of each kind."""
    table = Table("video", "result", "frames", "changed", "fps", box=None)
    for done in results:
        report = done.report
        figures = ("", "", "") if report is None else _of_report(report)
        table.add_row(str(done.job.source), done.outcome, *figures)
    counts = ", ".join(f"{sum(d.outcome == name for d in results)} {name}" for name in ("done", "skipped", "failed"))
    return f"{_drawn(table)}\n{_counted(len(results), 'video')}: {counts}"


def forecasts(found: Sequence[Forecast]) -> str:
    """A line for every video of a dry run; seconds and megabytes are estimates."""
    table = Table("video", "seconds", "with text", "runs", "regions x,y,w,h", "about seconds", "about MB", box=None)
    for one in found:
        boxes = " ".join(f"{box.x_px},{box.y_px},{box.width_px},{box.height_px}" for box in one.boxes)
        times = f"{one.duration_us / 1e6:.1f}", f"{one.text_us / 1e6:.1f}"
        size = "?" if one.size_bytes is None else f"{one.size_bytes / 1e6:.1f}"
        table.add_row(str(one.source), *times, str(one.runs), boxes, f"{one.seconds:.0f}", size)
    return f"{_drawn(table)}\nnothing was written"


def _of_report(report: Report) -> tuple[str, str, str]:
    return str(report.frames), str(report.frames_changed), f"{report.fps:.1f}"


def _kept(report: Report) -> str:
    copied = f", {_counted(report.frames_copied, 'frame')} copied" if report.frames_copied else ""
    resumed = f", {_counted(report.frames_resumed, 'frame')} from an earlier run" if report.frames_resumed else ""
    return copied + resumed


def _coders(report: Report) -> str:
    return report.encoder if report.decoder == "cpu" else f"{report.decoder}, {report.encoder}"


def _fill(report: Report) -> str:
    if report.steps is None:
        return f"fill {report.fill}"
    noise = "noise from a file" if report.seed is None else f"seed {report.seed}"
    made = f"{_counted(report.windows, 'window')} of {_counted(report.steps, 'step')}, policy {report.policy}, {noise}"
    scaled = f", {_counted(report.regions_scaled, 'region run')} scaled down" if report.regions_scaled else ""
    short = f", {_counted(report.runs_short, 'region run')} shorter than a window" if report.runs_short else ""
    return f"fill {report.fill} ({made}{scaled}{short})"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def scores(found: dict[str, Any]) -> str:
    """The table of an evaluation, from its `as_dict`."""
    table = Table("", "PSNR dB", "inside", "outside", "SSIM", "text found", "in its place", box=None)
    for name in ("source", "result"):
        score = found[name]
        if score is not None:
            decibels = (_figure(score["psnr"][key], 2) for key in ("frame_db", "inside_db", "outside_db"))
            shares = (_figure(score[key], 3) for key in ("frames_with_text", "frames_with_text_on_mask"))
            table.add_row(name, *decibels, _figure(score["ssim"], 4), *shares)
    shares = (_figure(found[key], 3) for key in ("clean_frames_with_text", "clean_frames_with_text_on_mask"))
    table.add_row("clean", "", "", "", "", *shares)
    changed = _figure(found["pixels_changed_outside"], 0)
    return f"{_drawn(table)}\n{found['frames']} frames; mask: {found['mask']}; pixels changed outside it: {changed}"


def facts(found: dict[str, dict[str, Any]]) -> str:
    """A small table under every heading."""
    tables = []
    for heading, rows in found.items():
        table = Table("name", "value", title=heading, title_justify="left", show_header=False, box=None)
        for name, value in rows.items():
            table.add_row(name, str(value))
        tables.append(_drawn(table))
    return "\n".join(tables)


def memory(found: dict[str, Any]) -> str:
    """The table of a memory plan, from `memory_plan.facts`: gigabytes of 10**9 bytes, a column for each precision."""
    plans = list(found["precisions"].values())
    table = Table("", *(f"{name} GB" for name in found["precisions"]), box=None)
    for part in plans[0]["parts_bytes"]:
        table.add_row(part, *(_gigabytes(plan["parts_bytes"][part]) for plan in plans))
    table.add_row("total", *(_gigabytes(plan["total_bytes"]) for plan in plans))
    table.add_row("before that, while loading", *(_gigabytes(plan["loading_bytes"]) for plan in plans))
    if found["limit"] is not None:
        table.add_row(f"fits {found['limit']['name']}", *("yes" if plan["fits"] else "no" for plan in plans))
    size, frames = "x".join(map(str, found["size"])), found["window_frames"]
    under_way = _counted(found["windows_under_way"], "window")
    shared = ", ".join(f"{name} {_gigabytes(count)}" for name, count in plans[0]["activations_bytes"].items())
    return (
        f"memory of the engine cuda for a region of {size}, {under_way} of {frames} frames under way\n{found['of']}\n"
        f"{_drawn(table)}\nactivations share their memory: {shared} GB"
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f}"


def _figure(value: float | str | None, digits: int) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.{digits}f}"


def _drawn(table: Table) -> str:
    text = io.StringIO()
    Console(file=text, width=Console().width).print(table)
    return text.getvalue().removesuffix("\n")
