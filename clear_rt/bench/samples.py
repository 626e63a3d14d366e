"""Measured times of one stage, and their percentiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import floor
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")

PERCENTILES = (50, 90, 95, 99)


def percentile(seconds: Sequence[float], percent: float) -> float:
    """Linear between the two nearest of the sorted values (NumPy's default). Raises ValueError without any."""
    if not seconds:
        raise ValueError("expected at least one measured time")
    ordered = sorted(seconds)
    place = (len(ordered) - 1) * percent / 100
    low = floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(slots=True)
class Samples:
    """Seconds of every call of a stage: those that count, and those of the warm-up before them."""

    seconds: list[float] = field(default_factory=list)
    warmup: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        return percentile(self.seconds, 50)

    @property
    def mean(self) -> float:
        return sum(self.seconds) / len(self.seconds)

    def as_dict(self) -> dict[str, Any]:
        """Count, mean and percentiles in seconds, and the raw times that they can be worked out from again."""
        shares = {f"p{percent}_s": percentile(self.seconds, percent) for percent in PERCENTILES}
        return {
            "count": len(self.seconds),
            "mean_s": self.mean,
            **shares,
            "samples_s": list(self.seconds),
            "warmup_s": list(self.warmup),
        }


class Clock:
    """Times calls by stage. `settle` is waited for after each, so that work left on a GPU counts for its own stage.

    While `warming`, times go to the warm-up.
    """

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        self.stages: dict[str, Samples] = {}
        self.warming = True
        self._settle = settle

    def timed(self, stage: str, call: Callable[[], T]) -> T:
        begun = perf_counter()
        result = call()
        self._settle()
        self.add(stage, perf_counter() - begun)
        return result

    def add(self, stage: str, seconds: float) -> None:
        samples = self.stages.setdefault(stage, Samples())
        (samples.warmup if self.warming else samples.seconds).append(seconds)
