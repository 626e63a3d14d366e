"""`clear-rt detect`: when and where there is text in a video, as JSON, CSV or SRT. Nothing is changed or written."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from clear_rt import frames
from clear_rt.bundle import open_bundle
from clear_rt.config import RunConfig
from clear_rt.option_values import Format
from clear_rt.prior import Prior
from clear_rt.report import Stopwatch
from clear_rt.runtime.engine import open_engine
from clear_rt.scan import scan
from clear_rt.shapes import Box, working_size
from clear_rt.telling import Progress, untold


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A stretch of frames with text in `box`, pixels of the upright picture; times in microseconds of the video's
    first frame on, ends excluded.
    """

    start_us: int
    stop_us: int
    start_frame: int
    stop_frame: int
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """Everything found in a video of so many frames, which lasts `duration_us`."""

    source: Path
    width_px: int
    height_px: int
    frames: int
    duration_us: int
    texts: tuple[Text, ...]


def detect(source: Path | str, config: RunConfig | None = None, progress: Progress | None = None) -> Detected:
    """Where the burned-in subtitles of `source` are.

    `progress(phase, done, total or None)` counts frames. Raises InputError, BundleError, EngineError and ConfigError
    as `remove` does.
    """
    config, path = config or RunConfig(), Path(source)
    bundle = open_bundle(config.bundle)
    engine = open_engine(config.engine, bundle, generates=False, kernels=config.kernels)
    info = frames.with_decoder(frames.probe(path, config.read), config.read.decoder)
    working = working_size(info.width_px, info.height_px, bundle.prior.short_side_px)
    prior = Prior(engine, bundle.prior.multiple_px)
    found = scan(info, prior, working, config.region, Stopwatch(), progress or untold)
    texts = [
        Text(start_us=start_us, stop_us=stop_us, start_frame=run.start_frame, stop_frame=run.stop_frame, box=run.box)
        for run, (start_us, stop_us) in zip(found.runs, found.intervals_us, strict=True)
    ]
    return Detected(
        source=path,
        width_px=info.width_px,
        height_px=info.height_px,
        frames=found.frames,
        duration_us=found.duration_us,
        texts=tuple(texts),
    )


def written(found: Detected, form: Format) -> str:
    """The texts in a form that other programs read, without a line feed at the end."""
    return {"json": _json, "csv": _csv, "srt": _srt}[form](found)


def _json(found: Detected) -> str:
    texts = [
        {
            "start_s": text.start_us / 1e6,
            "stop_s": text.stop_us / 1e6,
            "start_frame": text.start_frame,
            "stop_frame": text.stop_frame,
            "x_px": text.box.x_px,
            "y_px": text.box.y_px,
            "width_px": text.box.width_px,
            "height_px": text.box.height_px,
        }
        for text in found.texts
    ]
    about = {
        "source": str(found.source),
        "width_px": found.width_px,
        "height_px": found.height_px,
        "frames": found.frames,
        "duration_s": found.duration_us / 1e6,
    }
    return json.dumps(about | {"texts": texts}, indent=1)


def _csv(found: Detected) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("start_s", "stop_s", "start_frame", "stop_frame", "x_px", "y_px", "width_px", "height_px"))
    for text in found.texts:
        box = text.box
        frames_of = text.start_frame, text.stop_frame
        times = f"{text.start_us / 1e6:.6f}", f"{text.stop_us / 1e6:.6f}"
        table.writerow((*times, *frames_of, box.x_px, box.y_px, box.width_px, box.height_px))
    return out.getvalue().removesuffix("\n")


def _srt(found: Detected) -> str:
    """A caption for each, which names its box: to be looked at over the video in a player."""
    captions = [
        f"{number}\n{_stamp(text.start_us)} --> {_stamp(text.stop_us)}\n"
        f"text at {text.box.x_px},{text.box.y_px},{text.box.width_px},{text.box.height_px}\n"
        for number, text in enumerate(found.texts, start=1)
    ]
    return "\n".join(captions).removesuffix("\n")


def _stamp(time_us: int) -> str:
    milliseconds = round(time_us / 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d},{milliseconds:03d}"
