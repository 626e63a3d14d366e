"""Arrays of the host to the GPU and back, through pinned memory that the GPU copies from and to by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32]


def to_device(array: npt.NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """A tensor of the same type on `device`; one that is there already as it is."""
    if isinstance(array, Tensor):
        return array.to(device)
    given = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        # In memory of its own, as on a GPU.
        return given.clone()
    return given.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Floats:
    """A float32 array of its own, once the work before is done."""
    found: Floats = np.array(tensor.float().cpu().numpy())
    return found


def as_bits(tensor: Tensor) -> npt.NDArray[Any]:
    """An array of the same type, for bfloat16 uint16 of the same bits; a copy where the tensor is not on the host."""
    found = tensor.detach().cpu().contiguous()
    bits: npt.NDArray[Any] = (found.view(torch.uint16) if found.dtype == torch.bfloat16 else found).numpy()
    return bits


def from_bits(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """A tensor on `device`, in memory of its own, of what `as_bits` made."""
    found = to_device(np.array(array), device)
    return found.view(torch.bfloat16) if found.dtype == torch.uint16 else found


def pinned(size_bytes: int, device: torch.device) -> Tensor:
    """uint8 [size_bytes] of the host that a GPU copies from and to; pageable where there is none."""
    return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
