"""A target file that appears whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from clear_rt.errors import OutputError
from clear_rt.frames.failures import reason

MUXERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".m2ts": "mpegts",
    ".mts": "mpegts",
    ".flv": "flv",
    ".nut": "nut",
    ".3gp": "3gp",
}
# Most file systems end a name at 255 bytes; the rest of the temporary name needs fewer than 40 of them.
_LONGEST_STEM_BYTES = 200


def muxer_for(target: Path) -> str:
    """FFmpeg's muxer for the target's extension. Raises OutputError that lists the known ones."""
    muxer = MUXERS.get(target.suffix.lower())
    if muxer is None:
        known = " ".join(sorted(MUXERS))
        raise OutputError(f"expected an output name ending in one of {known}, but got {target.name!r}; rename it")
    return muxer


def check_target(source: Path, target: Path) -> None:
    """Raises OutputError where `target` can never be written: bad folder, a directory, or the source itself."""
    folder = target.absolute().parent
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise OutputError(f"expected to write into {folder}, but it {found}; create it or choose another")
    if target.is_dir():
        raise OutputError(f"expected an output file, but {target} is a directory; give a file name inside it")
    with suppress(OSError):
        if os.path.samefile(source, target):
            raise OutputError(f"the output {target} is the input itself; choose another output name")
    if target.exists() and not target.is_file():
        raise OutputError(f"expected a regular output file, but {target} is a pipe or a device; choose another name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"writing into {folder} is not permitted; change its permissions or choose another folder")


class Partial:
    """The hidden file beside the target that becomes the target by `commit` and vanishes by `discard`."""

    def __init__(self, target: Path) -> None:
        # A link stays a link: what it points at is replaced, beside which the partial file is written.
        self.target = Path(os.path.realpath(target))
        stem = os.fsdecode(os.fsencode(self.target.stem)[:_LONGEST_STEM_BYTES])
        self.path = self.target.with_name(f".{stem}.partial-{os.getpid()}{self.target.suffix}")

    def commit(self) -> None:
        """Force the data to the disk and give it the target's name. Raises OutputError; the old target then stays."""
        try:
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
            self.path.replace(self.target)
        except OSError as error:
            raise OutputError(f"{self.target} could not be completed: {reason(error)}") from error

    def discard(self) -> None:
        """Remove the partial file if there is one."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
