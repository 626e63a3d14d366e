"""The part of a model that learns, as a checkpoint holds it, and its running average.

Of the real transformer 1.56 B parameters stay as they are under 88 M that learn: a copy of the whole for the average,
and two more in every checkpoint, would be 19 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_COUNT, _PREFIX = "n_averaged", "module."


def learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


class Learned:
    """What a checkpoint holds of a model, and takes back into it: its learning parameters."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in learning(self._model).items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What else a checkpoint holds is left: those of earlier versions repeat the base."""
        for name, parameter in learning(self._model).items():
            parameter.copy_(state[name])


class LearnedAverage:
    """An average that forgets its first steps: over a tenth of them all until `decay` is reached.

    A checkpoint of it looks as one of `torch.optim.swa_utils.AveragedModel`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay, self._count = model, decay, 0
        self._values = {name: parameter.detach().clone() for name, parameter in learning(model).items()}

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        share = max(1 - self._decay, 10 / (10 + self._count)) if self._count else 1.0
        for name, parameter in learning(model).items():
            value = self._values[name]
            value.copy_(value + (parameter - value) * share if self._count else parameter)
        self._count += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the model computes with the average; afterwards it is as it was."""
        now = {name: parameter.detach().clone() for name, parameter in learning(self._model).items()}
        self._fill(self._values)
        try:
            yield
        finally:
            self._fill(now)

    def values(self) -> dict[str, Tensor]:
        return dict(self._values)

    def state_dict(self) -> dict[str, Tensor]:
        return {_COUNT: torch.tensor(self._count)} | {_PREFIX + name: value for name, value in self._values.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._count = int(state[_COUNT])
        for name, value in self._values.items():
            value.copy_(state[_PREFIX + name])

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in learning(self._model).items():
            parameter.copy_(values[name])
