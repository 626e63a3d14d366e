"""Where a bench writes: looked at before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clear_rt import frames
from clear_rt.errors import OutputError


def check_outputs(chart: Path | None, others: Sequence[Path | None]) -> None:
    """Raises OutputError where a place cannot be written, is asked for twice, or a chart has another name than .png."""
    if chart is not None and chart.suffix.lower() != ".png":
        raise OutputError(f"--chart must end in .png, got {chart.name!r}; rename it")
    taken: list[Path] = []
    for path in (chart, *others):
        if path is None:
            continue
        # A bench reads no file that the result could replace.
        frames.check_target(Path(), path)
        if any(frames.same_place(path, other) for other in taken):
            raise OutputError(f"{path} was asked for twice; name different files")
        taken.append(path)
