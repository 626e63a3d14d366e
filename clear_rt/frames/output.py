"""One output file: opened under a temporary name, every write guarded, renamed only when all of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
from av.container import OutputContainer

from clear_rt.errors import OutputError
from clear_rt.frames.atomic import partial_of
from clear_rt.frames.failures import AV_ERRORS, reason, remedy
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.picture_files import always_needed
from clear_rt.frames.remux import Remux
from clear_rt.frames.sequence import NumberedPictures
from clear_rt.frames.writable import check_place


class Output:
    """Container, temporary file and second source of one target; `finish` or `abandon` ends it.

    The file is written at `path`, on the target's file system, where one is given, else beside the target.
    """

    def __init__(self, source: VideoInfo, target: Path, path: Path | None = None) -> None:
        self.muxer = check_place(source, target)
        self._target = target
        self.remux = Remux(source, self.muxer)
        with self.guarded():
            self._partial = partial_of(target, path)
            self.container: OutputContainer = av.open(
                _for_ffmpeg(self._partial.path, self.muxer),
                "w",
                format=self.muxer,
                container_options=_muxer_options(self.muxer, self.remux, source),
                metadata_errors="surrogateescape",
            )

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turns every failure to write into one OutputError."""
        try:
            yield
        except AV_ERRORS as error:
            raise OutputError(
                f"writing {self._target} failed: {reason(error)}; {remedy(error)}, the incomplete file was removed"
            ) from error

    def finish(self) -> None:
        """Write the trailer and give the file its name. Raises OutputError; call `abandon` then."""
        with self.guarded():
            self.container.close()
        self.remux.close()
        self._partial.commit()

    def abandon(self) -> None:
        """Close everything and remove what was written. Never raises because of the file."""
        with suppress(*AV_ERRORS):
            self.container.close()
        self.remux.close()
        self._partial.discard()


def _for_ffmpeg(path: Path, muxer: str) -> str:
    return NumberedPictures(path).for_ffmpeg if muxer == "image2" else str(path)


def _muxer_options(muxer: str, remux: Remux, source: VideoInfo) -> dict[str, str]:
    if muxer == "image2":
        sequence = source.demuxing.sequence
        return {"start_number": str(sequence.numbers[0] if sequence else 1)}
    if muxer in ("mp4", "mov", "3gp") and any(key.startswith("com.") for key in remux.tags()):
        # Tags such as com.apple.quicktime.location exist only in MP4's second, keyed list of tags.
        return {"movflags": "use_metadata_tags"}
    if muxer == "mpegts" and remux.start_s() >= 1:
        # Otherwise the muxer adds 1.4 s to every time; decoding times must stay positive, hence the second of room.
        return {"mpegts_copyts": "1"}
    return always_needed(muxer)
