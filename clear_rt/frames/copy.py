"""`copy`: every packet of a file into another, nothing decoded."""

from __future__ import annotations

from pathlib import Path

from clear_rt.frames.output import Output


def copy(source: Path | str, target: Path | str) -> tuple[str, ...]:
    """Copy all streams, chapters and tags of `source` packet by packet; returns a sentence for each stream left out.

    The rule of `Writer` holds: the target is replaced when all is written, and not touched before.
    Raises InputError (damaged source) and OutputError (folder, permission, space, container).
    """
    output = Output(Path(source), Path(target))
    try:
        output.remux.declare(output.container, -1, None)
        with output.guarded():
            output.container.start_encoding()
            output.remux.feed(output.container, None)
        output.finish()
    except BaseException:
        output.abandon()
        raise
    return tuple(output.remux.dropped)
