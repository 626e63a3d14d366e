"""What `clear-rt fetch` leaves beside the files: which repository and commit they are of, and what each file holds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = "fetched.json"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository. `sha256` is of its bytes; `blob` is git's SHA-1 of small files; either may be unknown."""

    name: str
    size_bytes: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The files of one folder, by name. Written when all of them are there: a folder without it is not complete.

    `revision` is what was asked for, None the main branch; `commit` is what that was, 40 hexadecimal digits.
    """

    repository: str
    revision: str | None
    commit: str
    files: Mapping[str, HubFile]


def cache_home() -> Path:
    """Our folder among caches. Raises RuntimeError where there is no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clear-rt"


def fetched_home() -> Path:
    """The folder of everything that was fetched without naming one, by owner, name and commit."""
    return cache_home() / "weights"


def fetched_folders(repository: str) -> dict[str, Path]:
    """Complete folders of a repository by commit, of those that were fetched without naming a folder."""
    home = fetched_home() / repository
    records = {path.parent: read_record(path.parent) for path in sorted(home.glob(f"*/{RECORD}"))}
    return {
        folder.name: folder
        for folder, record in records.items()
        if record is not None and (record.repository, record.commit) == (repository, folder.name)
    }


def read_record(folder: Path) -> Record | None:
    """None where there is none, or something else of that name."""
    try:
        said: Any = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        files = [HubFile(name, file["bytes"], file["sha256"], file["blob"]) for name, file in said["files"].items()]
        return Record(said["repository"], said["revision"], said["commit"], {file.name: file for file in files})
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """Raises OSError."""
    files = {
        file.name: {"bytes": file.size_bytes, "sha256": file.sha256, "blob": file.blob}
        for file in record.files.values()
    }
    said = {
        "repository": record.repository,
        "revision": record.revision,
        "commit": record.commit,
        "files": dict(sorted(files.items())),
    }
    beside = folder / f".{RECORD}.partial"
    beside.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    beside.replace(folder / RECORD)
