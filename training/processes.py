"""One process, or several that share a training: one a GPU, by accelerate.

    accelerate launch --num_processes 8 -m training.stage_two --base DIR --data DIR --run DIR --device cuda

Every process holds the whole model and takes its share of the batches of a step; gradients are added up before the
step, so that all stay equal. Only what learns is exchanged, 350 MB a step at rank 64. A training does not depend on
how many processes share it: which batches belong to a step is fixed (`training.flow.batches`).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from clear_rt.errors import ConfigError


class Processes(Protocol):
    """This process is number `index` of `count`; `first` is whether it is the one that writes."""

    index: int
    count: int

    @property
    def first(self) -> bool: ...

    def device(self, asked: str) -> str:
        """The device of this process, where a user asked for `asked`."""

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces every tensor by its sum over all processes."""

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in one of them; all ask at the same step."""

    def wait(self) -> None:
        """Until all have come here."""


class Alone:
    """As `Processes`, for a process by itself."""

    index, count, first = 0, 1, True

    def device(self, asked: str) -> str:
        return asked

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        pass

    def any(self, flag: bool) -> bool:
        return flag

    def wait(self) -> None:
        pass


ALONE = Alone()


class Together:
    """As `Processes`, for those that `accelerate launch` or torchrun has started."""

    def __init__(self, accelerator: Any) -> None:  # noqa: ANN401 - accelerate need not be installed
        self._accelerator = accelerator
        self.index, self.count = accelerator.process_index, accelerator.num_processes

    @property
    def first(self) -> bool:
        return self.index == 0

    def device(self, asked: str) -> str:
        return str(self._accelerator.device)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        # As one: a rank-64 adapter has 600 tensors, and each exchange waits for the slowest process.
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        total = self._accelerator.reduce(flat, reduction="sum")
        for tensor, part in zip(tensors, total.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        counted = torch.tensor(float(flag), device=self._accelerator.device)
        return bool(self._accelerator.reduce(counted, reduction="sum") > 0)

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


def launched(device: str) -> Processes:
    """What this process is part of: itself alone, unless a launcher says that there are others.

    Raises ConfigError where there are others and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    try:
        accelerate = importlib.import_module("accelerate")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"expected accelerate to be installed for training in several processes, found none ({error}); "
            "pip install accelerate, or start one process"
        ) from error
    return Together(accelerate.Accelerator(cpu=torch.device(device).type == "cpu"))
