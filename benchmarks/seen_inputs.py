"""The largest inputs of modules while a model runs: what scales of FP8 come from, without nvidia-modelopt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from clear_rt.models.baked import BakedDit


@contextmanager
def largest_inputs(dit: BakedDit, names: Iterable[str]) -> Iterator[dict[str, float]]:
    """Filled with the largest absolute input of every module of these names that runs inside."""
    largest: dict[str, float] = {}

    def look(name: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        largest[name] = max(largest.get(name, 0.0), float(given[0].abs().max()))

    hooks = [dit.get_submodule(name).register_forward_pre_hook(partial(look, name)) for name in names]
    try:
        yield largest
    finally:
        for hook in hooks:
            hook.remove()
