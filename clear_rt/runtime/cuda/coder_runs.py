"""Streamed coders for runs that may be under way at once: each run has one of its own while it lasts."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from clear_rt.runtime.cuda.graphs import Graphs
from clear_rt.runtime.engine import Caches


class Coder(Protocol):
    """`StreamedEncoder` or `StreamedDecoder`."""

    def __call__(self, frames: Tensor, begins: bool) -> Tensor: ...


Size = tuple[int, int, int]
# Coders without a run that are kept for the next one of their size. One for 1280x192 holds 1 GB.
MOST_FREE = 2


class CoderRuns:
    """Calls coders on tensors [C, T, H, W]. What it answers with for caches stands for the run, and keeps its coder.

    A coder whose run is forgotten serves the next one of the same size, unless `MOST_FREE` others have become free
    since. T is 1 where a run begins, then `frames`. `make` is told the size [C, H, W].
    """

    def __init__(self, make: Callable[[Size], Coder], frames: int, graphs: Graphs, like: Tensor, name: str) -> None:
        self._make, self._frames, self._graphs = make, frames, graphs
        self._like, self._name = like, name
        self._free: list[tuple[Size, _Steps]] = []

    def __call__(self, x: Tensor, caches: Caches | None) -> tuple[Tensor, Caches]:
        """x of any float, on the device -> a tensor of its own in the coder's type."""
        run = self._begun((x.shape[0], x.shape[2], x.shape[3])) if caches is None else caches[0]
        return run.steps[caches is None](x), (run,)

    def _begun(self, size: Size) -> _Run:
        place = next((i for i, (free, _) in enumerate(self._free) if free == size), None)
        steps = self._captured(size) if place is None else self._free.pop(place)[1]
        run = _Run(steps)
        weakref.finalize(run, self._freed, size, steps)
        return run

    def _freed(self, size: Size, steps: _Steps) -> None:
        self._free.append((size, steps))
        del self._free[:-MOST_FREE]

    def _captured(self, size: Size) -> _Steps:
        """Both steps of a coder, the larger one first: the smaller then finds its memory."""
        coder, (channels, height, width) = self._make(size), size
        steps = {}
        for begins, frames in ((False, self._frames), (True, 1)):
            given = self._like.new_zeros(channels, frames, height, width)
            steps[begins] = _Step(coder, given, begins, self._graphs, self._name)
        return steps


class _Step:
    """A coder's step on a tensor of one shape."""

    def __init__(self, coder: Coder, given: Tensor, begins: bool, graphs: Graphs, name: str) -> None:
        self._given, self._made = given, list[Tensor]()

        def run() -> None:
            made = coder(given.permute(1, 2, 3, 0).contiguous(), begins).permute(3, 0, 1, 2)
            if not self._made:
                self._made.append(torch.empty_like(made, memory_format=torch.contiguous_format))
            self._made[0].copy_(made)

        self._run = graphs.captured(run, name)

    def __call__(self, x: Tensor) -> Tensor:
        self._given.copy_(x)
        self._run()
        return self._made[0].clone()


_Steps = dict[bool, _Step]


class _Run:
    """What stands for a run outside; once it is gone, its coder is free."""

    def __init__(self, steps: _Steps) -> None:
        self.steps = steps
