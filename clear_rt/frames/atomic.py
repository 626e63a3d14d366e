"""A target that appears whole or not at all: a file, or a folder of numbered pictures."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from clear_rt.errors import OutputError
from clear_rt.frames.failures import reason, remedy
from clear_rt.frames.sequence import PICTURES, is_pattern

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
    ".mxf": "mxf",
    ".y4m": "yuv4mpegpipe",
    ".yuv": "rawvideo",
    ".rgb": "rawvideo",
    ".raw": "rawvideo",
}
# Most file systems end a name at 255 bytes; the rest of the temporary name needs fewer than 40 of them.
_LONGEST_STEM_BYTES = 200


def muxer_for(target: Path) -> str:
    """FFmpeg's muxer for the target's extension. Raises OutputError that lists the known ones."""
    if target.suffix.lower() in PICTURES:
        if is_pattern(target):
            return "image2"
        raise OutputError(f"expected the pictures' names as a pattern such as out/%05d.png, but got {target.name!r}")
    muxer = MUXERS.get(target.suffix.lower())
    if muxer is None:
        known = " ".join(sorted([*MUXERS, *PICTURES]))
        raise OutputError(f"expected an output name ending in one of {known}, but got {target.name!r}; rename it")
    return muxer


def check_target(source: Path, target: Path) -> None:
    """Raises OutputError where `target` can never be written: bad folder, a directory, or the source itself.

    Numbered pictures need a folder of their own, which is not there yet or is empty.
    """
    if is_pattern(target):
        _check_folder_of_pictures(target)
        return
    # What a link points at is what will be replaced, and the folder of that is where the partial file goes.
    folder = Path(os.path.realpath(target)).parent
    _check_folder(folder)
    found = _look(target)
    if found is not None:
        _check_existing(source, target, found)
    _check_permitted(folder)


def is_there(target: Path) -> bool:
    """Whether a result stands at `target`: of numbered pictures any, or what else is in their folder."""
    if is_pattern(target):
        return target.parent.is_dir() and not _is_empty(target.parent)
    return target.exists()


def _check_folder_of_pictures(target: Path) -> None:
    folder = place_of(target)
    if _look(folder) is not None:
        _check_folder(folder)
        if not _is_empty(folder):
            raise OutputError(
                f"expected a folder that holds nothing but the pictures, but {target.parent} is not empty; "
                "name one that is, or one that does not exist"
            )
    _check_folder(folder.parent)
    _check_permitted(folder.parent)


def _check_permitted(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"writing into {folder} is not permitted; change its permissions or choose another folder")


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder} cannot be looked into: {reason(error)}; {remedy(error)}") from error


def place_of(target: Path) -> Path:
    """What is replaced when `target` is complete, links followed: a file, or the folder of numbered pictures."""
    return Path(os.path.realpath(target.parent if is_pattern(target) else target))


def same_place(a: Path, b: Path) -> bool:
    """Whether writing `a` and writing `b` would replace the same file, which need not exist yet.

    Or one of them lies in the folder of numbered pictures that the other one replaces.
    """
    places = place_of(a), place_of(b)
    within = (is_pattern(a) and places[0] in places[1].parents) or (is_pattern(b) and places[1] in places[0].parents)
    return places[0] == places[1] or within


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


class PartialTarget(Protocol):
    """What becomes the target by `commit` and vanishes by `discard`; `path` is where FFmpeg writes until then."""

    target: Path
    path: Path

    def commit(self) -> None:
        """Force the data to the disk and give it the target's name. Raises OutputError; the old target then stays."""

    def discard(self) -> None:
        """Remove what there is of it. Never raises."""


def partial_of(target: Path, path: Path | None = None) -> PartialTarget:
    """Of a file or of numbered pictures; hidden at `path`, else beside the target. Raises OSError."""
    return PartialPictures(target, path) if is_pattern(target) else Partial(target, path)


class Partial:
    """The hidden file that becomes the target by `commit` and vanishes by `discard`: beside the target, or `path`."""

    def __init__(self, target: Path, path: Path | None = None) -> None:
        # A link stays a link: what it points at is replaced, beside which the partial file is written.
        self.target = Path(os.path.realpath(target))
        if path is not None:
            self.path = path
            return
        self.path = _hidden_beside(self.target)

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


class PartialPictures:
    """A hidden folder that becomes the one of the pictures, which is not there yet or is empty."""

    def __init__(self, target: Path, path: Path | None = None) -> None:
        self.target = target
        self._folder = place_of(target)
        self._hidden = path or _hidden_beside(self._folder)
        self._hidden.mkdir(exist_ok=True)
        self.path = self._hidden / target.name

    def commit(self) -> None:
        """See `PartialTarget`."""
        try:
            for picture in self._hidden.iterdir():
                with picture.open("rb+") as file:
                    os.fsync(file.fileno())
            self._hidden.replace(self._folder)
        except OSError as error:
            raise OutputError(f"{self.target} could not be completed: {reason(error)}; {remedy(error)}") from error

    def discard(self) -> None:
        """See `PartialTarget`."""
        shutil.rmtree(self._hidden, ignore_errors=True)


def _hidden_beside(path: Path) -> Path:
    stem = os.fsdecode(os.fsencode(path.stem)[:_LONGEST_STEM_BYTES])
    # The random part keeps writers of one target apart: in one process, and in containers that share a folder.
    return path.with_name(f".{stem}.partial-{os.getpid()}-{secrets.token_hex(6)}{path.suffix}")
