"""A folder that appears whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    if target == Path.cwd():
        raise OutputError(f"expected a folder of its own for the bundle, but {target} is the current one; name another")
    if not target.name.isprintable():
        raise OutputError(f"expected a printable name for the bundle, but got {target.name!r}; choose another name")
    strange = _foreign(target) if target.is_dir() else None
    if strange is not None:
        raise OutputError(
            f"expected a bundle or nothing at {target}, but it holds {strange}, which is none of a bundle's files; "
            "choose another name"
        )


def _foreign(folder: Path) -> str | None:
    """The first name in a folder that no bundle put there, None in an empty folder and in a bundle."""
    names = {path.name: path.is_file() for path in folder.iterdir()}
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        ours = (
            {"manifest.json", *(entry["file"] for entry in file_entries(manifest))}
            if isinstance(manifest.get("format"), int)
            else set()
        )
    except (OSError, ValueError, RecursionError, AttributeError):
        ours = set()
    return next((name for name in sorted(names) if name not in ours or not names[name]), None)


def file_entries(manifest: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any JSON
    """Every object of a manifest that names a file, at any depth."""
    if isinstance(manifest, dict):
        if isinstance(manifest.get("file"), str):
            yield manifest
        for value in manifest.values():
            yield from file_entries(value)


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _take_name(partial: Path, target: Path) -> None:
    old = partial.with_name(f"{partial.name}.old")
    try:
        if target.exists():
            target.rename(old)
        partial.rename(target)
    except BaseException:
        # An interrupt, too, may come between the two.
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
