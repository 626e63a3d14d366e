"""`copy`: every packet of a file into another, nothing decoded."""

from __future__ import annotations

from pathlib import Path

from clear_rt.errors import OutputError
from clear_rt.frames.atomic import muxer_for
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.output import Output
from clear_rt.frames.remux import Remux


def copyable(info: VideoInfo, target: Path) -> bool:
    """Whether `copy` can carry the picture of `info` into the container of `target` as it is.

    AVI's packets have no presentation times, so they go into AVI only. Raises OutputError for an unknown container.
    """
    muxer = muxer_for(target)
    remux = Remux(info.path, muxer)
    try:
        return (muxer == "avi" or not remux.lacks_times()) and remux.takes(info.stream_index)
    finally:
        remux.close()


def copy(source: Path | str, target: Path | str) -> tuple[str, ...]:
    """Copy all streams, chapters and tags of `source` packet by packet; returns a sentence for each stream left out.

    The rule of `Writer` holds: the target is replaced when all is written, and not touched before.
    Ask `copyable` first. Raises InputError (damaged source) and OutputError (folder, permission, space, container).
    """
    output = Output(Path(source), Path(target))
    try:
        if output.remux.lacks_times() and output.muxer != "avi":
            raise OutputError(
                f"the packets of {source} carry no presentation times, as always in AVI, and {target} needs them; "
                "give the output the extension .avi"
            )
        output.remux.declare(output.container, -1, None)
        with output.guarded():
            output.container.start_encoding()
            output.remux.feed(output.container, None)
        output.finish()
    except BaseException:
        output.abandon()
        raise
    return tuple(output.remux.dropped)
