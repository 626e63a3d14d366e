"""Arrays to a GPU and back through pinned memory, which the GPU copies from and to by itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]


class Staged:
    """A float32 tensor on `device` whose memory stays where it is, and its pinned counterpart on the host."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.tensor = torch.zeros(shape, device=device)
        self._pinned = torch.empty(shape, pin_memory=True) if device.type == "cuda" else self.tensor

    def fill(self, array: Floats) -> None:
        """Copies an array of this shape into the tensor. Call it when what was filled in before has been read."""
        self._pinned.copy_(torch.from_numpy(np.asarray(array)))
        if self._pinned is not self.tensor:
            self.tensor.copy_(self._pinned, non_blocking=True)

    def array(self) -> Floats:
        """The tensor as an array of its own, once the work before is done."""
        if self._pinned is not self.tensor:
            self._pinned.copy_(self.tensor, non_blocking=True)
            torch.cuda.current_stream().synchronize()
        found: Floats = self._pinned.numpy().copy()
        return found
