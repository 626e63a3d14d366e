"""The page of one video: a sentence, a timeline, frames before and after, and every figure of the report."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from clear_rt.frames import jpeg_of
from clear_rt.page.gallery import Shown
from clear_rt.page.timeline import clock, named, timeline
from clear_rt.prose import summary
from clear_rt.report import Report

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem; color: #1c2126; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p.lead { color: #4a545e; margin: 0; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: #4a545e; }
.lane { fill: #e8ecef; } .text { fill: #0a6cb4; }
.frames { display: grid; grid-template-columns: repeat(3, 1fr); gap: .35rem; }
.frames figure { margin: 0; } .frames img { width: 100%; display: block; border-radius: 3px; }
figcaption { font-size: 12px; color: #4a545e; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
th { font-weight: 500; color: #4a545e; width: 18rem; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
"""


def page(report: Report, shown: Sequence[Shown]) -> str:
    """HTML that holds its pictures: nothing is loaded from anywhere."""
    body = [
        f"<h1>{escape(report.source.name)}</h1>",
        f'<p class="lead">{escape(summary(report))}</p>',
        "<h2>When and where there was text</h2>",
        timeline(report) if report.runs else "<p>No text was found.</p>",
        *_frames(shown),
        "<h2>Regions</h2>" if report.runs else "",
        _table(_regions(report)) if report.runs else "",
        "<h2>What was done</h2>",
        _table(_facts(report)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(report.source.name)} - clear-rt</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _frames(shown: Sequence[Shown]) -> Iterator[str]:
    if not shown:
        return
    yield '<h2>Before, what was taken for text, after</h2><div class="frames">'
    for one in shown:
        for name, picture in (("before", one.source), ("text and matte", one.occlusion), ("after", one.result)):
            caption = f"frame {one.index}, {name}"
            yield f'<figure><img alt="{caption}" src="{_embedded(picture)}"><figcaption>{caption}</figcaption></figure>'
    yield "</div>"


def _embedded(rgb: NDArray[np.uint8]) -> str:
    return f"data:image/jpeg;base64,{b64encode(jpeg_of(rgb)).decode()}"


def _regions(report: Report) -> Iterator[tuple[str, str]]:
    for run, (start_us, stop_us) in zip(report.runs, report.intervals_us, strict=True):
        frames = f"frames {run.start_frame} to {run.stop_frame - 1}"
        yield f"{clock(start_us)} to {clock(stop_us)}", f"{frames}, x,y,w,h {named(run.box)}"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "source", str(report.source)
    yield "result", str(report.target)
    yield "frames", f"{report.frames}, of which {report.frames_changed} were changed"
    for sign in report.signs:
        yield "left alone", f"{clock(sign.start_us)} to {clock(sign.stop_us)}, x,y,w,h {named(sign.box)}"
    yield "picture", "every packet copied as it is" if report.video_copied else _encoded(report)
    yield "decoded by", report.decoder
    yield "other streams", "copied packet by packet" + "".join(f"; {sentence}" for sentence in report.dropped_streams)
    yield "bundle and engine", f"{report.bundle}, {report.engine}"
    yield "fill", f"{report.fill}, composite {report.composite}"
    for note in (*report.notes, *report.gpu_notes):
        yield "note", note
    yield "time", f"{report.seconds:.1f} s, {report.fps:.1f} frames per second"
    stages = sorted(report.stage_seconds.items(), key=lambda item: -item[1])
    yield "stages, seconds (they overlap)", ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages)


def _encoded(report: Report) -> str:
    copied = f", but for {report.frames_copied} frames whose packets were copied" if report.frames_copied else ""
    resumed = f", {report.frames_resumed} frames by an earlier run" if report.frames_resumed else ""
    return f"encoded again by {report.encoder}{copied}{resumed}"


def _table(rows: Iterator[tuple[str, str]]) -> str:
    lines = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(lines)}</table>"
