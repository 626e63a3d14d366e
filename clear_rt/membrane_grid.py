"""One level of the multigrid of `membrane`: a grid's unknown cells as compact lists, and the steps between levels.

Cells are held on a grid with a border of one, which mirrors the edge (no flow through it) and whose odd row length
makes a cell's flat position tell its colour of the red-black ordering. Unknowns are numbered red first; one more
entry behind them stays zero and stands for every cell that is not unknown.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Number = TypeVar("Number", np.float32, np.intp)

QUARTER = np.float32(0.25)
TINY = np.float32(1e-30)
BILINEAR = np.array([9, 3, 3, 1], np.float32) / 16


class Level:
    """The hole bool [H, W] of one level as lists of cells; `values` float32 [C, count + 1] belong to those lists."""

    def __init__(self, hole: Bools) -> None:
        self.height, self.width = hole.shape
        self.coarse_height, self.coarse_width = (self.height + 1) // 2, (self.width + 1) // 2
        self.shape = 2 * self.coarse_height + 2, 2 * self.coarse_width + 3
        self.hole = np.zeros(self.shape, np.bool_)
        self.inside(self.hole)[...] = hole
        cells = np.flatnonzero(self.hole)
        odd = (cells & 1).astype(np.bool_)
        self.red = int(cells.size - np.count_nonzero(odd))
        self.count = int(cells.size)
        self.cells: Indices = np.concatenate([cells[~odd], cells[odd]])
        self.number: Indices = np.full(self.shape, self.count, np.intp)
        self.number.ravel()[self.cells] = np.arange(self.count)
        self.mirror(self.number)
        row = self.shape[1]
        self.beside: Indices = self.cells + np.array([[-row], [-1], [1], [row]])
        neighbours = _gather(self.number.ravel(), self.beside)
        self.red_neighbours, self.black_neighbours = neighbours[:, : self.red].copy(), neighbours[:, self.red :].copy()

    def coarser(self) -> Level:
        """The level of half the size; its unknown cells are those whose four children are all unknown."""
        hole = self.hole.copy()
        if self.height % 2:
            hole[self.height + 1] = True
        if self.width % 2:
            hole[:, self.width + 1] = True
        a, b, c, d = self._children(hole)
        coarse = Level(a & b & c & d)
        self._link(coarse)
        return coarse

    def _link(self, coarse: Level) -> None:
        row, coarse_row = self.shape[1], coarse.shape[1]
        y = self.cells // row - 1
        x = self.cells - (y + 1) * row - 1
        parent = (y // 2 + 1) * coarse_row + x // 2 + 1
        across, along = (y % 2 * 2 - 1) * coarse_row, x % 2 * 2 - 1
        self.parents: Indices = np.stack([parent, parent + across, parent + along, parent + across + along])
        self.parent_numbers = _gather(coarse.number.ravel(), self.parents)
        y = coarse.cells // coarse_row
        first = (2 * y - 1) * row + 2 * (coarse.cells - y * coarse_row) - 1
        self.child_numbers = _gather(self.number.ravel(), first + np.array([[0], [1], [row], [row + 1]]))

    def known(self, planes: Floats) -> tuple[Floats, Floats]:
        """Samples [C, H, W] with zeros under the hole, on the bordered grid, and their weights (1 where known)."""
        data = np.zeros((planes.shape[0], *self.shape), np.float32)
        known = ~self.inside(self.hole)
        np.copyto(self.inside(data), planes, where=known)
        weight = np.zeros(self.shape, np.float32)
        self.inside(weight)[...] = known
        return data, weight

    def coarser_known(self, data: Floats, weight: Floats) -> tuple[Floats, Floats]:
        """What `known` is to this level, for the next coarser one: means of the children that are known."""
        a, b, c, d = self._children(weight)
        total = a + b + c + d
        e, f, g, h = self._children(data)
        mean = (e + f + g + h) / np.maximum(total, 1)
        shape = self._coarse_shape()
        coarse_data, coarse_weight = np.zeros((data.shape[0], *shape), np.float32), np.zeros(shape, np.float32)
        inside = np.s_[1 : self.coarse_height + 1, 1 : self.coarse_width + 1]
        coarse_data[:, *inside], coarse_weight[inside] = mean, total > 0
        return coarse_data, coarse_weight

    def right_side(self, data: Floats) -> Floats:
        """Sum [C, count] of the known neighbours of every unknown cell."""
        return _gather_sum(data.reshape(data.shape[0], -1), self.beside)

    def relax(self, values: Floats, right: Floats, sweeps: int) -> None:
        """Red-black Gauss-Seidel sweeps, in place."""
        red, black = np.s_[:, : self.red], np.s_[:, self.red : self.count]
        for _ in range(sweeps):
            values[red] = (_gather_sum(values, self.red_neighbours) + right[red]) * QUARTER
            values[black] = (_gather_sum(values, self.black_neighbours) + right[black]) * QUARTER

    @cached_property
    def _inverse(self) -> Floats:
        matrix = np.zeros((self.count, self.count + 1))
        neighbours = np.concatenate([self.red_neighbours, self.black_neighbours], axis=1)
        np.subtract.at(matrix, (np.arange(self.count), neighbours), 1)
        return np.linalg.inv(matrix[:, :-1] + 4 * np.eye(self.count)).astype(np.float32)

    def solve(self, right: Floats) -> Floats:
        """The solution [C, count + 1] by the inverse matrix, for small levels."""
        values = np.zeros((right.shape[0], self.count + 1), np.float32)
        values[:, :-1] = right @ self._inverse
        return values

    def red_residual(self, values: Floats, right: Floats) -> Floats:
        """What is missing to balance the red cells, [C, red]; after a sweep the black ones are balanced."""
        red = np.s_[:, : self.red]
        return _gather_sum(values, self.red_neighbours) + right[red] - 4 * values[red]

    def to_coarse(self, red_residual: Floats) -> Floats:
        """Residual summed over the children of the coarser level's unknowns."""
        residual = np.zeros((red_residual.shape[0], self.count + 1), np.float32)
        residual[:, : self.red] = red_residual
        return _gather_sum(residual, self.child_numbers)

    def correct(self, values: Floats, red_residual: Floats, coarse_values: Floats) -> None:
        """Adds the coarser level's correction, interpolated bilinearly and scaled to the best length, in place.

        The length that minimises the energy along the correction keeps cycles from diverging where a hole meets an
        odd edge (unscaled: error 2e6 on 1x17) and halves the error around lone known samples.
        """
        step = np.zeros_like(values)
        step[:, :-1] = BILINEAR @ _gather(coarse_values, self.parent_numbers)
        red, black = step[:, : self.red], step[:, self.red : self.count]
        energy = _dot(red, 4 * red - _gather_sum(step, self.red_neighbours))
        energy += _dot(black, 4 * black - _gather_sum(step, self.black_neighbours))
        values += _dot(red, red_residual) / np.maximum(energy, TINY) * step

    def interpolate(self, coarse_data: Floats) -> Floats:
        """First values [C, count + 1] from the coarser level's whole grid."""
        values = np.zeros((coarse_data.shape[0], self.count + 1), np.float32)
        values[:, :-1] = BILINEAR @ _gather(coarse_data.reshape(coarse_data.shape[0], -1), self.parents)
        return values

    def settle(self, values: Floats, data: Floats) -> Floats:
        """`data` with the unknowns filled in, its border mirrored, in place."""
        data.reshape(data.shape[0], -1)[:, self.cells] = values[:, :-1]
        self.mirror(data)
        return data

    def _coarse_shape(self) -> tuple[int, int]:
        return (self.coarse_height + 1) // 2 * 2 + 2, (self.coarse_width + 1) // 2 * 2 + 3

    def inside(self, grid: NDArray[Any]) -> NDArray[Any]:
        """View [..., H, W] of a bordered grid without its border."""
        return grid[..., 1 : self.height + 1, 1 : self.width + 1]

    def mirror(self, grid: NDArray[Any]) -> None:
        """Copies the edge cells of a bordered grid into its border, in place."""
        grid[..., 0, :], grid[..., self.height + 1, :] = grid[..., 1, :], grid[..., self.height, :]
        grid[..., 0], grid[..., self.width + 1] = grid[..., 1], grid[..., self.width]

    def _children(self, grid: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        view = grid[..., 1 : 1 + 2 * self.coarse_height, 1 : 1 + 2 * self.coarse_width]
        return view[..., 0::2, 0::2], view[..., 0::2, 1::2], view[..., 1::2, 0::2], view[..., 1::2, 1::2]


def _gather(values: NDArray[Number], places: Indices) -> NDArray[Number]:
    # wrap skips the bounds check (0.07 instead of 0.11 ms for 120,000 places); every place is in range by construction
    gathered: NDArray[Number] = values.take(places, axis=-1, mode="wrap")
    return gathered


def _gather_sum(values: Floats, places: Indices) -> Floats:
    """Sums [C, n] of the values at places [k, n]."""
    total: Floats = _gather(values, places).sum(axis=1)
    return total


def _dot(left: Floats, right: Floats) -> Floats:
    """Inner products [C, 1] of rows."""
    products: Floats = np.einsum("cn,cn->c", left, right)
    return products[:, None]
