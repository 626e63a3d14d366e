"""Streamed coders of the `cuda` engine: both of their steps captured, on memory that stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from clear_rt.restart import Host
from clear_rt.runtime.coder_runs import KeptCoderRuns, Size
from clear_rt.runtime.cuda.crossing import as_bits, from_bits
from clear_rt.runtime.cuda.graphs import Graphs
from clear_rt.states import StateError


class Coder(Protocol):
    """`StreamedEncoder` or `StreamedDecoder`."""

    def __call__(self, frames: Tensor, begins: bool) -> Tensor: ...

    def kept(self) -> list[Tensor]: ...


class CoderRuns(KeptCoderRuns[Tensor]):
    """As `clear_rt.runtime.coder_runs.KeptCoderRuns`; T is 1 where a run begins, then `frames`."""

    def __init__(self, make: Callable[[Size], Coder], frames: int, graphs: Graphs, like: Tensor, name: str) -> None:
        super().__init__(lambda size: _Captured(make(size), size, frames, graphs, like, name))


class _Captured:
    """Both steps of a coder, the larger one captured first: the smaller then finds its memory."""

    def __init__(self, coder: Coder, size: Size, frames: int, graphs: Graphs, like: Tensor, name: str) -> None:
        channels, height, width = self.size = size
        self._coder, self._like = coder, like
        self._steps = {}
        for begins, count in ((False, frames), (True, 1)):
            given = like.new_zeros(channels, count, height, width)
            self._steps[begins] = _Step(coder, given, begins, graphs, name)

    def __call__(self, x: Tensor, begins: bool) -> Tensor:
        return self._steps[begins](x)

    def kept(self) -> Iterator[Host]:
        """What the layers keep, by its bits: after a first step."""
        return map(as_bits, self._coder.kept())

    def fill(self, arrays: Sequence[Host]) -> None:
        """Puts arrays in the place of what the layers keep, as many and of their forms. Raises StateError."""
        channels, height, width = self.size
        # Layers make their memory in a first step.
        self(self._like.new_zeros(channels, 1, height, width), True)
        kept, given = self._coder.kept(), [from_bits(array, self._like.device) for array in arrays]
        forms = [[(tensor.shape, tensor.dtype) for tensor in tensors] for tensors in (kept, given)]
        if forms[0] != forms[1]:
            raise StateError(f"expected {len(kept)} tensors that a coder keeps, found {len(given)}, or others")
        for mine, theirs in zip(kept, given, strict=True):
            mine.copy_(theirs)


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
