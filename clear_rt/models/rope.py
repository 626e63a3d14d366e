"""Rotary positions over time, rows and columns (reference.md 1.4).

A head's pairs of adjacent values are split among the axes, 22 + 21 + 21 of 64 for Wan. Positions count from 0 on every
axis in every window.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_POSITIONS = 1024
THETA = 10000.0


def axis_pairs(head_width: int) -> tuple[int, int, int]:
    """Pairs of values that turn with time, row and column."""
    space = head_width // 6
    return head_width // 2 - 2 * space, space, space


def axis_tables(head_width: int, positions: int = MAX_POSITIONS) -> tuple[Tensor, Tensor, Tensor]:
    """For each axis float64 [2, positions, pairs]: cosine and sine of position x frequency."""
    where = torch.arange(positions, dtype=torch.float64)
    tables = []
    for pairs in axis_pairs(head_width):
        turns = torch.outer(where, THETA ** -(torch.arange(pairs, dtype=torch.float64) / pairs))
        tables.append(torch.stack((turns.cos(), turns.sin())))
    return tables[0], tables[1], tables[2]


def rotation(tables: tuple[Tensor, Tensor, Tensor], latents: int, rows: int, columns: int) -> Tensor:
    """Tables of `axis_tables` for a grid of tokens: [2, N, head_width / 2], tokens ordered frame, row, column."""
    time, row, column = tables
    grid = (-1, latents, rows, columns, -1)
    parts = (
        time[:, :latents, None, None, :].expand(*grid),
        row[:, None, :rows, None, :].expand(*grid),
        column[:, None, None, :columns, :].expand(*grid),
    )
    return torch.cat(parts, -1).flatten(1, 3)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """x [B, N, H, D], turn [2, N, D / 2] -> x with every pair of adjacent values turned, in the dtype of x."""
    cosine, sine = turn[:, :, None, :]
    even, odd = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2).to(x.dtype)
