"""Where a bench writes: looked at before anything is measured, and each file appears whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clear_rt import frames
from clear_rt.errors import OutputError
from clear_rt.frames.atomic import Partial
from clear_rt.frames.failures import reason, remedy


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


def write_text(target: Path, text: str) -> None:
    """UTF-8. Raises OutputError where `target` cannot be written; it then stays as it was."""
    partial = Partial(target)
    try:
        partial.path.write_text(text, encoding="utf-8")
        partial.commit()
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {reason(error)}; {remedy(error)}") from error
    finally:
        partial.discard()
