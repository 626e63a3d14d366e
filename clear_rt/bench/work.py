"""Arithmetic and memory traffic of a call, counted by formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Work:
    """`flop`: multiplications and additions, two per pair. `values`: numbers read and written where every product,
    convolution and attention reads what it takes and writes what it makes once, weights included, and what lies between
    them (norms, activations, residuals) is part of one of them.
    """

    flop: int = 0
    values: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.values + other.values)

    def __mul__(self, times: int) -> Work:
        return Work(times * self.flop, times * self.values)

    @classmethod
    def linear(cls, rows: int, width_in: int, width_out: int) -> Self:
        """A product of [rows, width_in] and [width_in, width_out]."""
        return cls(2 * rows * width_in * width_out, rows * (width_in + width_out) + width_in * width_out)

    @classmethod
    def attention(cls, queries: int, keys: int, width: int) -> Self:
        """Scores and their sum over values, all heads together `width` wide; scores stay on the chip."""
        return cls(4 * queries * keys * width, 2 * (queries + keys) * width)

    @classmethod
    def convolution(cls, taken: int, made: int, width_in: int, width_out: int, kernel: int) -> Self:
        """`taken` positions in, `made` out, `kernel` of them to each; padding counts as arithmetic."""
        return cls(
            2 * made * kernel * width_in * width_out,
            taken * width_in + made * width_out + kernel * width_in * width_out,
        )
