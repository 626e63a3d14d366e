"""Files that are on the disk whole, or not there at all, whenever the power fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TORN = ".torn"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that gets the name `path` where the block is left without an exception, and vanishes otherwise.

    Until then it ends in `TORN`, which is what a killed process leaves behind. Raises OSError.
    """
    torn = path.with_name(path.name + TORN)
    file = torn.open("wb")
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
        file.close()
        torn.replace(path)
    except BaseException:
        with suppress(OSError):
            # Where the disk is full, what still waits in the buffer fails again.
            file.close()
        with suppress(OSError):
            torn.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on the disk, where its file system knows how."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
