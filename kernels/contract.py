"""What a kernel asks of its arguments, checked before launch: on a GPU a wrong shape reads another tensor's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

HALVES = (torch.float16, torch.bfloat16)
FLOATS = (*HALVES, torch.float32)


class Contract:
    """The axes of one call: the first tensor that names an axis fixes its size for those after it."""

    def __init__(self, op: str) -> None:
        self.op = op
        self.sizes: dict[str, int] = {}
        self._device: torch.device | None = None

    def tensor(
        self, name: str, tensor: Tensor, axes: str, dtypes: Sequence[torch.dtype] = FLOATS, *, dense_axes: int = 1
    ) -> None:
        """Asks for a tensor of the named axes, such as "B N 3", whose last `dense_axes` lie in memory without gaps.

        Raises ValueError, naming the tensor, what was expected and what was found.
        """
        words, known = axes.split(), dict(self.sizes)
        if tensor.ndim != len(words) or not all(map(self._fits, words, tensor.shape)):
            raise ValueError(f"{self.op}: expected {name} [{_shape(words, known)}], got {[*tensor.shape]}")
        if tensor.dtype not in dtypes:
            raise ValueError(f"{self.op}: expected {name} of {_names(dtypes)}, got {_names([tensor.dtype])}")
        self._device = self._device or tensor.device
        if tensor.device != self._device:
            raise ValueError(f"{self.op}: expected {name} on {self._device}, got it on {tensor.device}")
        self._dense(name, tensor, words, dense_axes)

    def _fits(self, word: str, size: int) -> bool:
        return size == (int(word) if word.isdigit() else self.sizes.setdefault(word, size))

    def _dense(self, name: str, tensor: Tensor, words: Sequence[str], axes: int) -> None:
        wanted = 1
        for axis in range(-1, -1 - axes, -1):
            if tensor.shape[axis] > 1 and tensor.stride(axis) != wanted:
                raise ValueError(
                    f"{self.op}: expected {name} with stride {wanted} along axis {words[axis]}, "
                    f"got strides {tensor.stride()}; call .contiguous() on it"
                )
            wanted *= max(tensor.shape[axis], 1)


def _shape(words: Sequence[str], sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{word} = {sizes[word]}" if word in sizes else word for word in words)


def _names(dtypes: Sequence[torch.dtype]) -> str:
    return " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
