"""Weights stored as fp16 and computed with as fp32: half the bytes of a bundle, for the price of one rounding each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

LARGEST = float(torch.finfo(torch.float16).max)


def halve_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of at least two axes as fp16 where none is beyond 65,504; tables, norms and biases stay as they are."""
    return {name: tensor.to(torch.float16) if _is_weight(name, tensor) else tensor for name, tensor in state.items()}


def _is_weight(name: str, tensor: Tensor) -> bool:
    is_wide = tensor.dtype == torch.float32
    return name.endswith("weight") and tensor.ndim > 1 and is_wide and float(tensor.abs().max()) <= LARGEST
