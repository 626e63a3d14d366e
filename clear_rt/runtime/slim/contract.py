"""What an operation asks of its arrays, checked before launch, as `kernels/contract.py` does it for tensors."""

from __future__ import annotations

from collections.abc import Sequence

from clear_rt.runtime.slim.arrays import DeviceArray

HALVES = ("fp16", "bf16")
FLOATS = (*HALVES, "fp32")
SAMPLES = ("u8", "u16", "i16")


class Contract:
    """The axes of one call: the first array that names an axis fixes its size for those after it."""

    def __init__(self, op: str) -> None:
        self.op = op
        self.sizes: dict[str, int] = {}
        self._context: int | None = None

    def array(
        self, name: str, array: DeviceArray, axes: str, dtypes: Sequence[str] = FLOATS, *, dense_axes: int = 1
    ) -> None:
        """Asks for an array of the named axes, such as "B N 3", whose last `dense_axes` lie in memory without gaps.

        Raises ValueError, naming the array, what was expected and what was found.
        """
        words, known = axes.split(), dict(self.sizes)
        if len(array.shape) != len(words) or not all(map(self._fits, words, array.shape)):
            wanted = ", ".join(f"{word} = {known[word]}" if word in known else word for word in words)
            raise ValueError(f"{self.op}: expected {name} [{wanted}], got {[*array.shape]}")
        if array.dtype not in dtypes:
            raise ValueError(f"{self.op}: expected {name} of {' or '.join(dtypes)}, got {array.dtype}")
        context = array.stream.context.handle
        self._context = self._context or context
        if context != self._context:
            raise ValueError(f"{self.op}: expected {name} in the context of the other arrays, got it in another one")
        wanted_stride = 1
        for axis in range(-1, -1 - dense_axes, -1):
            if array.shape[axis] > 1 and array.strides[axis] != wanted_stride:
                raise ValueError(
                    f"{self.op}: expected {name} with stride {wanted_stride} along axis {words[axis]}, "
                    f"got strides {[*array.strides]}; copy it to memory without gaps"
                )
            wanted_stride *= max(array.shape[axis], 1)

    def written(self, name: str, array: DeviceArray) -> None:
        """Asks for an array that may be written to. Raises ValueError where it says that it may not."""
        if array.is_readonly:
            raise ValueError(f"{self.op}: expected {name} that may be written to, got one that is read only")

    def _fits(self, word: str, size: int) -> bool:
        return size == (int(word) if word.isdigit() else self.sizes.setdefault(word, size))


def blocks(count: int, block: int) -> int:
    """How many blocks hold `count` elements."""
    return -(-count // block)
