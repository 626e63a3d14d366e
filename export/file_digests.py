"""sha256 of files, remembered: the real weights are 3 GB, and that nothing has to be built should be known at once."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from clear_rt.models.fetched import cache_home


def digest(path: Path) -> str:
    """sha256 of a file's content, from the cache where size and time of change are those of the last time.

    The cache is a file below XDG_CACHE_HOME; where it cannot be read or written, every file is hashed.
    """
    found = path.stat()
    name = f"{path.resolve()}:{found.st_size}:{found.st_mtime_ns}:{found.st_ino}"
    known = _known()
    if name not in known:
        with path.open("rb") as file:
            known[name] = hashlib.file_digest(file, "sha256").hexdigest()
        _remember(known)
    return known[name]


def _cache() -> Path:
    return cache_home() / "digests.json"


def _known() -> dict[str, str]:
    with suppress(OSError, ValueError, RuntimeError):
        known = json.loads(_cache().read_text(encoding="utf-8"))
        if isinstance(known, dict) and all(isinstance(value, str) for value in known.values()):
            return known
    return {}


def _remember(known: dict[str, str]) -> None:
    with suppress(OSError, RuntimeError):
        path = _cache()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text(json.dumps(known), encoding="utf-8")
        beside.replace(path)
