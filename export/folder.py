"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clear_rt.errors import OutputError


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its name at the end, or vanishes where the block is left by an error.

    A bundle that stood there before stands until then and is replaced.

    Raises:
        OutputError: `target` is something else than a bundle or an empty folder, or cannot be written, or the disk is
            full.
    """
    target = Path(os.path.realpath(target))
    _check(target)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}-{secrets.token_hex(6)}")
    try:
        partial.mkdir()
        yield partial
        _flush(partial)
        _take_name(partial, target)
    except OSError as error:
        raise OutputError(
            f"{target} could not be written ({error.strerror or error}); free some space or choose another folder"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(target: Path) -> None:
    if not target.parent.is_dir():
        raise OutputError(f"expected to write into {target.parent}, but it is no folder; create it or choose another")
    if target.exists() and not target.is_dir():
        raise OutputError(f"expected a folder for the bundle, but {target} is a file; choose another name")
    if target.is_dir() and any(target.iterdir()) and not (target / "manifest.json").is_file():
        raise OutputError(f"expected a bundle or nothing at {target}, but it holds other files; choose another name")


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _take_name(partial: Path, target: Path) -> None:
    old = partial.with_name(f"{partial.name}.old")
    if target.exists():
        target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
