"""What is worked out of weights once, not in every pass: a vector less 1, the product of two scales, a joined table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


class _Entry(NamedTuple, Generic[Made]):
    """`aliases` keep the memory of the sources from being given to others, so that an address tells them apart."""

    aliases: tuple[Tensor, ...]
    versions: tuple[int, ...]
    made: Made


class Kept(Generic[Made]):
    """The last result of `make`, a function of tensors, for as long as they are those tensors with those values.

    Other memory, another dtype and a change in place are noticed; one through `.data`, or of inference tensors, is not:
    torch does not count those. While a CUDA graph is captured nothing is kept, for what is then made holds nothing
    before the graph runs: run once before. A graph goes on with what it was captured with, as it does with weights.
    """

    def __init__(self, make: Callable[..., Made]) -> None:
        self._make = make
        self._entry: _Entry[Made] | None = None

    def of(self, *sources: Tensor) -> Made:
        if torch.compiler.is_compiling():
            return self._make(*sources)
        if self._entry is not None and _same(self._entry, sources):
            return self._entry.made
        with torch.no_grad():
            made = self._make(*sources)
        if is_lasting(sources[0].device):
            aliases = tuple(source.detach() for source in sources)
            self._entry = _Entry(aliases, tuple(map(_version, sources)), made)
        return made


def is_lasting(device: torch.device) -> bool:
    """Whether what has just been made on a device may be used from now on, on all its streams: waits until it is there.

    Not so while the current stream is captured.
    """
    if device.type == "cuda":
        if torch.cuda.is_current_stream_capturing():
            return False
        torch.cuda.current_stream(device).synchronize()
    return True


def _same(entry: _Entry[Made], sources: tuple[Tensor, ...]) -> bool:
    return len(entry.aliases) == len(sources) and all(
        source.data_ptr() == alias.data_ptr()
        and source.dtype == alias.dtype
        and source.device == alias.device
        and source.shape == alias.shape
        and source.stride() == alias.stride()
        and _version(source) == version
        for source, alias, version in zip(sources, entry.aliases, entry.versions, strict=True)
    )


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
