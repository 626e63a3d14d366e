"""How far something has come, told to whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable

# Told of a phase, how much of it is done, and of how much in all where that is known.
Progress = Callable[[str, int, int | None], None]


def untold(phase: str, done: int, total: int | None) -> None:
    """Nobody wants to know."""
