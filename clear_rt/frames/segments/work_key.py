"""What finished work depends on: the input, the options, and the programs that made it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

from clear_rt.errors import InputError
from clear_rt.frames.failures import reason
from clear_rt.frames.sequence import NumberedPictures, is_pattern
from clear_rt.version import __version__

_END_BYTES = 1 << 20


def work_key(source: Path, target: Path, options: Mapping[str, Any]) -> dict[str, str]:
    """Facts by name, all of which must be as they were for work to go on. Raises InputError."""
    return {
        "input": os.path.realpath(source),
        **_facts_of(source),
        "output": str(target),
        "clear_rt": __version__,
        "FFmpeg": ", ".join(f"{name} {'.'.join(map(str, number))}" for name, number in av.library_versions.items()),
        "PyAV": av.__version__,
        **_flat("option", options),
    }


def _facts_of(source: Path) -> dict[str, str]:
    try:
        files = [source]
        if is_pattern(source):
            sequence = NumberedPictures(source)
            files = [sequence.path_of(number) for number in sequence.numbers]
        found = [file.stat() for file in files]
        ends = hashlib.sha256(str([(one.st_size, one.st_mtime_ns) for one in found[1:]]).encode())
        for file in (files[0], files[-1]):
            ends.update(_ends_of(file))
    except OSError as error:
        raise InputError(f"expected a readable video at {source}, but {reason(error)}; check the path") from error
    return {
        "input's size": str(sum(one.st_size for one in found)),
        "input's time of change": str(max(one.st_mtime_ns for one in found)),
        "input's content": ends.hexdigest(),
    }


def _ends_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        begin = opened.read(_END_BYTES)
        opened.seek(max(0, opened.seek(0, 2) - _END_BYTES))
        return begin + opened.read(_END_BYTES)


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The first fact that is not what it was, as half a sentence; None where all are the same."""
    for name in [*now, *before]:
        was, is_now = before.get(name, "not given"), now.get(name, "not given")
        if was != is_now:
            return f"the {name} was {was} and is {is_now}"
    return None


def _flat(name: str, value: object) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {key: text for part in value for key, text in _flat(f"{name} {part}", value[part]).items()}
    return {name: value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)}
