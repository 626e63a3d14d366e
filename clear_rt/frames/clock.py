"""Time stamps that always grow."""

from __future__ import annotations

from fractions import Fraction


class Clock:
    """Turns the stamps a decoder gives (missing, doubled, jumping back) into strictly growing ones, changing few."""

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.step = max(1, round(1 / (rate * time_base)))
        self._last: int | None = None

    def stamp(self, pts: int | None) -> int:
        """`pts` where it grows; one tick more than the last where it is doubled; one frame more where there is none."""
        if self._last is None:
            self._last = pts or 0
        elif pts is None or pts < self._last - self.step:
            self._last += self.step
        else:
            self._last = max(pts, self._last + 1)
        return self._last
