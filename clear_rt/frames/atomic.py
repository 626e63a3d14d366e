"""A target file that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from clear_rt.errors import OutputError
from clear_rt.frames.failures import reason, remedy

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
    # What a link points at is what will be replaced, and the folder of that is where the partial file goes.
    folder = Path(os.path.realpath(target)).parent
    _check_folder(folder)
    found = _look(target)
    if found is not None:
        _check_existing(source, target, found)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"writing into {folder} is not permitted; change its permissions or choose another folder")


def same_place(a: Path, b: Path) -> bool:
    """Whether writing `a` and writing `b` would replace the same file, which need not exist yet."""
    return os.path.realpath(a) == os.path.realpath(b)


def _check_folder(folder: Path) -> None:
    found = _look(folder)
    if found is None or not stat.S_ISDIR(found.st_mode):
        why = "does not exist" if found is None else "is not a folder"
        raise OutputError(f"expected to write into {folder}, but it {why}; create it or choose another")


def _check_existing(source: Path, target: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise OutputError(f"expected an output file, but {target} is a directory; give a file name inside it")
    with suppress(OSError):
        if os.path.samestat(source.stat(), found):
            raise OutputError(f"the output {target} is the input itself; choose another output name")
    if not stat.S_ISREG(found.st_mode):
        raise OutputError(f"expected a regular output file, but {target} is a pipe or a device; choose another name")


def _look(path: Path) -> os.stat_result | None:
    """None where nothing is there. Raises OutputError where that cannot be found out."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"expected a place to write at {path}, but {reason(error)}; {remedy(error)}") from error


class Partial:
    """The hidden file that becomes the target by `commit` and vanishes by `discard`: beside the target, or `path`."""

    def __init__(self, target: Path, path: Path | None = None) -> None:
        # A link stays a link: what it points at is replaced, beside which the partial file is written.
        self.target = Path(os.path.realpath(target))
        if path is not None:
            self.path = path
            return
        stem = os.fsdecode(os.fsencode(self.target.stem)[:_LONGEST_STEM_BYTES])
        # The random part keeps writers of one target apart: in one process, and in containers that share a folder.
        mark = f"{os.getpid()}-{secrets.token_hex(6)}"
        self.path = self.target.with_name(f".{stem}.partial-{mark}{self.target.suffix}")

    def commit(self) -> None:
        """Force the data to the disk and give it the target's name. Raises OutputError; the old target then stays."""
        try:
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
            self.path.replace(self.target)
        except OSError as error:
            raise OutputError(f"{self.target} could not be completed: {reason(error)}; {remedy(error)}") from error

    def discard(self) -> None:
        """Remove the partial file if there is one."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
