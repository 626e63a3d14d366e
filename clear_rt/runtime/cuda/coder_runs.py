"""Streamed coders of the `cuda` engine: both of their steps captured, on memory that stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from clear_rt.restart import Host
from clear_rt.runtime import coder_runs
from clear_rt.runtime.coder_runs import Size
from clear_rt.runtime.cuda.crossing import as_bits, from_bits
from clear_rt.runtime.cuda.graphs import Graphs
from clear_rt.runtime.engine import Caches
from clear_rt.states import StateError, integers


class Coder(Protocol):
    """`StreamedEncoder` or `StreamedDecoder`."""

    def __call__(self, frames: Tensor, begins: bool) -> Tensor: ...

    def kept(self) -> list[Tensor]: ...


class CoderRuns(coder_runs.CoderRuns[Tensor]):
    """As `clear_rt.runtime.coder_runs.CoderRuns`; T is 1 where a run begins, then `frames`."""

    def __init__(self, make: Callable[[Size], Coder], frames: int, graphs: Graphs, like: Tensor, name: str) -> None:
        super().__init__(lambda size: _Captured(make(size), size, frames, graphs, like, name))

    def saved(self, caches: Caches) -> Iterator[Host]:
        """The size that the coder was made for, and what its layers keep."""
        coder: _Captured = caches[0].coder
        yield integers(*coder.size)
        yield from map(as_bits, coder.kept())

    def restored(self, arrays: Sequence[Host]) -> Caches:
        """A coder that goes on where the one that was `saved` was. Raises StateError."""
        if not arrays or arrays[0].shape != (3,) or arrays[0].dtype.kind != "i" or not (arrays[0] > 0).all():
            raise StateError("expected the size of a coder, and what it keeps; the state is of another engine")
        channels, height, width = map(int, arrays[0])
        run = self._begun((channels, height, width))
        coder = run.coder
        assert isinstance(coder, _Captured)
        coder.fill(arrays[1:])
        return (run,)


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

    def kept(self) -> list[Tensor]:
        """What the layers keep: after a first step."""
        return self._coder.kept()

    def fill(self, arrays: Sequence[Host]) -> None:
        """Puts arrays in the place of what the layers keep, as many and of their forms. Raises StateError."""
        channels, height, width = self.size
        # Layers make their memory in a first step.
        self(self._like.new_zeros(channels, 1, height, width), True)
        kept, given = self.kept(), [from_bits(array, self._like.device) for array in arrays]
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
