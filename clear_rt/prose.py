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
    speed = f"{_left_alone(report)}; {report.seconds:.1f} s, {report.fps:.1f} fps"
    if report.video_copied:
        return f"{report.target}: no text found in {report.frames} frames, every stream copied as it is{speed}"
    return (
        f"{report.target}: text removed from {report.frames_changed} of {report.frames} frames, "
        f"{_counted(len(report.runs), 'region run')}, {_fill(report)}, {_coders(report)}{_kept(report)}{speed}"
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
    whole = ""
    if len(found) > 1:
        seconds, known = sum(one.seconds for one in found), [one.size_bytes for one in found]
        size = "?" if None in known else f"{sum(filter(None, known)) / 1e6:.1f}"
        whole = f"\n{len(found)} videos: about {seconds:.0f} seconds and {size} MB"
    return f"{_drawn(table)}{whole}\nnothing was written"


def _of_report(report: Report) -> tuple[str, str, str]:
    return str(report.frames), str(report.frames_changed), f"{report.fps:.1f}"


def _left_alone(report: Report) -> str:
    count = len({sign.box for sign in report.signs})
    if not count:
        return ""
    return f"; {_counted(count, 'sign')} left alone, --text all removes {'it' if count == 1 else 'them'}, too"


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


# Of `score.Evaluation.as_dict`: what a row of its table is called, where its figure stands in a clip's score, and
# digits after the point.
_SCORES = (
    ("PSNR dB", "psnr.frame_db", 2),
    ("  inside", "psnr.inside_db", 2),
    ("  outside", "psnr.outside_db", 2),
    ("SSIM", "ssim", 4),
    ("MS-SSIM", "ms_ssim", 4),
    ("LPIPS", "lpips", 4),
    ("DISTS", "dists", 4),
    ("text found", "frames_with_text", 3),
    ("  in its place", "frames_with_text_on_mask", 3),
    ("warping error", "neighbours.warping", 2),
    ("  x clean", "warping_ratio", 3),
    ("consistency", "neighbours.consistency", 4),
    ("  inside", "neighbours.consistency_inside", 4),
    ("flow mean px", "neighbours.flow_mean_px", 3),
    ("flow variance", "neighbours.flow_variance_px2", 3),
)
# The same for columns of the table of many, from the whole evaluation.
_COLUMNS = (
    ("PSNR dB", "result.psnr.frame_db", 2),
    ("inside", "result.psnr.inside_db", 2),
    ("outside", "result.psnr.outside_db", 2),
    ("SSIM", "result.ssim", 4),
    ("MS-SSIM", "result.ms_ssim", 4),
    ("LPIPS", "result.lpips", 4),
    ("DISTS", "result.dists", 4),
    ("VFID", "vfid", 2),
    ("flicker", "result.warping_ratio", 3),
    ("text before", "source.frames_with_text_on_mask", 3),
    ("after", "result.frames_with_text_on_mask", 3),
    ("source kept dB", "changes.outside_db", 2),
    ("changed outside", "changes.samples_outside", 6),
)


def scores(found: dict[str, Any]) -> str:
    """The table of an evaluation, from its `as_dict`: a column for every clip, rows without any figure left out."""
    clips = [name for name in ("source", "result", "clean") if found[name] is not None]
    table = Table("", *clips, box=None)
    for title, place, digits in _SCORES:
        values = [_at(found[name], place) for name in clips]
        if any(value is not None for value in values):
            table.add_row(title, *(_figure(value, digits) for value in values))
    share = "" if found["mask_share"] is None else f", {100 * found['mask_share']:.2f} % of the picture"
    lines = [_drawn(table), f"{_counted(found['frames'], 'frame')}; mask: {found['mask']}{share}"]
    if found["vfid"] is not None:
        lines.append(f"VFID of the snippets: {_figure(found['vfid'], 2)}")
    if (changes := found["changes"]) is not None:
        shares = (_percent(changes[key]) for key in ("samples", "samples_outside"))
        lines.append(
            "samples of the source changed: {}, outside the mask {}; ".format(*shares)
            + f"outside, source and result are {_figure(changes['outside_db'], 2)} dB apart, "
            + f"{_counted(changes['pixels_outside'], 'pixel')} differ"
        )
    return "\n".join(lines)


def score_rows(found: dict[str, Any]) -> str:
    """A line for every pair of the document of `eval` on folders, and one for their mean; as wide as it has to be."""
    rows = [(one["place"], one["evaluation"] or {}) for one in found["pairs"]]
    rows.append(("mean", found["mean"] | {"vfid": found["vfid"]}))
    columns = [column for column in _COLUMNS if any(_at(row, column[1]) is not None for _, row in rows)]
    table = Table("video", *(title for title, _, _ in columns), box=None)
    for place, row in rows:
        failed = not row
        table.add_row(place, *("failed" if failed else _figure(_at(row, where), n) for _, where, n in columns))
    counted = f"{_counted(len(found['pairs']), 'pair')}: {len(found['pairs']) - found['failed']} compared"
    return f"{_drawn(table, whole=True)}\n{counted}, {found['failed']} failed"


def _at(found: dict[str, Any], place: str) -> float | str | None:
    """What stands at "a.b.c"; None where any of it is missing."""
    value: Any = found
    for name in place.split("."):
        value = None if value is None else value.get(name)
    figure: float | str | None = value
    return figure


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.4g} %"


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


def _drawn(table: Table, *, whole: bool = False) -> str:
    """`whole`: wider than the terminal where nothing could be shown in full otherwise."""
    text, width = io.StringIO(), Console().width
    if whole:
        width = max(width, Console(width=10_000).measure(table).maximum)
    Console(file=text, width=width).print(table)
    return text.getvalue().removesuffix("\n")
