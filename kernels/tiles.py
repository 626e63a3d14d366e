"""The committed choice of tiles, `tiles.json`: found by measurement or by compiling, never in a user's process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

PATH = Path(__file__).with_name("tiles.json")


@dataclass(frozen=True, slots=True)
class Tile:
    """How a kernel cuts its work: sizes of its blocks by the kernel's own names for them, warps and pipeline stages."""

    blocks: Mapping[str, int]
    warps: int
    stages: int


_tried: dict[str, tuple[dict[str, object], Tile]] = {}


@contextmanager
def tried(op: str, candidate: Tile, **traits: object) -> Iterator[None]:
    """Inside, `tile` gives this one for an op with these `traits`, on every chip: how tiles are tuned."""
    _tried[op] = traits, candidate
    try:
        yield
    finally:
        del _tried[op]


def tile(op: str, capability: int, **traits: object) -> Tile:
    """The tile of an op on a chip: that of the newest chip no newer than this one whose row has these `traits`.

    Raises LookupError where no row fits.
    """
    if op in _tried and _tried[op][0] == traits:
        return _tried[op][1]
    return _found(op, capability, tuple(sorted(traits.items())))


def rows(op: str) -> list[dict[str, Any]]:
    """The rows of an op: `capability`, traits, `blocks`, `warps`, `stages`, and `evidence` for the choice."""
    found: list[dict[str, Any]] = _table()[op]
    return found


@cache
def _found(op: str, capability: int, traits: tuple[tuple[str, object], ...]) -> Tile:
    fitting = [row for row in rows(op) if row["capability"] <= capability and all(row[name] == v for name, v in traits)]
    if not fitting:
        raise LookupError(f"kernels/tiles.json has no tile for {op} with {dict(traits)} on sm_{capability}")
    row = max(fitting, key=lambda row: row["capability"])
    return Tile(MappingProxyType(row["blocks"]), row["warps"], row["stages"])


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(PATH.read_text())
    return table
