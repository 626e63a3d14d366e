"""`--preview`, `--compare` and `--report`: what a run did, to be looked at. All watch a run, none changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt import frames
from clear_rt.config import ReadConfig
from clear_rt.errors import OutputError
from clear_rt.page.gallery import Gallery
from clear_rt.page.html import page
from clear_rt.preview import Preview
from clear_rt.remover import Remover
from clear_rt.report import Report
from clear_rt.second_pass import Cleaned
from clear_rt.shapes import Size, working_size
from clear_rt.telling import Progress
from clear_rt.text_file import write_text
from clear_rt.watched import Watched

UInt8 = npt.NDArray[np.uint8]
READ = ReadConfig()
_SUFFIXES = {"preview": (".png",), "report": (".html", ".htm")}


class Watching(NamedTuple):
    """`observe` is for `Remover` and sees every frame of its second pass, `report` is told what came of it."""

    observe: Callable[[Cleaned], None] | None
    report: Callable[[Report], None]


@contextmanager
def watching(
    source: Path, target: Path, asked: Watched, short_side_px: int, read: ReadConfig = READ
) -> Iterator[Watching]:
    """Files of what was asked for appear at the end of a run that went well.

    The comparison shows source and result side by side, each at the size at which the prior looks for text. Where none
    is found there is no second pass, and neither it nor the preview is written.

    Raises:
        OutputError: a name with the wrong extension, or a place that cannot be written.
    """
    _check(source, target, asked)
    watchers: list[Callable[[Cleaned], None]] = []
    preview, gallery = Preview(), Gallery()
    told: list[Report] = []
    with ExitStack() as stack:
        if asked.compare is not None:
            info = frames.probe(source, read)
            size = working_size(info.width_px, info.height_px, short_side_px)
            writer = stack.enter_context(
                frames.PlainWriter(asked.compare, 2 * size.width_px, size.height_px, info.rate, frames.RGB_TO_WATCH)
            )
            watchers.append(lambda cleaned: writer.write(_pair(cleaned, size), cleaned.source.time_us))
        if asked.preview is not None:
            watchers.append(preview)
        if asked.report is not None:
            watchers.append(gallery)

        def watch(cleaned: Cleaned) -> None:
            for watcher in watchers:
                watcher(cleaned)

        yield Watching(watch if watchers else None, told.append)
    if asked.preview is not None and (picture := preview.page()) is not None:
        frames.write_png(asked.preview, picture)
    if asked.report is not None:
        for report in told:
            write_text(asked.report, page(report, gallery.frames))


def write_review(remover: Remover, source: Path, target: Path, progress: Progress) -> int:
    """Source and result side by side into `target`, and no result; returns how many frames would be changed.

    Raises OutputError where it cannot be written, and what `Remover` raises.
    """
    frames.check_target(source, target)
    info, changed = frames.probe(source, remover.config.read), 0
    size = working_size(info.width_px, info.height_px, remover.bundle.prior.short_side_px)
    with (
        frames.PlainWriter(target, 2 * size.width_px, size.height_px, info.rate, frames.RGB_TO_WATCH) as writer,
        closing(remover.cleaned(source, progress)) as found,
    ):
        for cleaned in found:
            writer.write(_pair(cleaned, size), cleaned.source.time_us)
            changed += cleaned.result is not cleaned.source
    return changed


def _check(source: Path, target: Path, asked: Watched) -> None:
    taken = [target]
    for name, path in asked._asdict().items():
        if path is None:
            continue
        suffixes = _SUFFIXES.get(name)
        if suffixes and path.suffix.lower() not in suffixes:
            raise OutputError(f"--{name} must end in {suffixes[0]}, got {path.name!r}; rename it")
        frames.check_target(source, path)
        if any(frames.same_place(path, other) for other in taken):
            raise OutputError(
                f"{path} was asked for twice, as result, preview, comparison or report; name different files"
            )
        taken.append(path)


def _pair(cleaned: Cleaned, size: Size) -> UInt8:
    return np.hstack([frame.rgb(size.height_px, size.width_px) for frame in (cleaned.source, cleaned.result)])
