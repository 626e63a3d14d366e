"""What an engine and its side must be able to do for what lies between two of their calls to outlive the process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from clear_rt.states import StateError

Host = NDArray[Any]
Coder = Literal["encoder", "decoder"]


@runtime_checkable
class KeepsCaches(Protocol):
    """An engine or a side whose caches can be taken out and put back. Others have no such methods."""

    @property
    def kept_as(self) -> str:
        """What computes with them, in words: who says the same goes on with the same bits."""
        ...

    def saved(self, caches: Sequence[Any]) -> Iterable[Host]:
        """What `encode` or `decode` answered with, as arrays of the host, one after the other."""
        ...

    def restored(self, coder: Coder, arrays: Sequence[Host]) -> Sequence[Any]:
        """Caches of that coder out of what was `saved`, read only; raises StateError where they are not of this bundle.

        The next call given them answers as it would have, given the ones that were saved.
        """
        ...


@runtime_checkable
class Restartable(KeepsCaches, Protocol):
    """A side whose arrays can be taken out and put back, too: latents, and frames that `decode` made."""

    def to_host(self, array: Any) -> Host:  # noqa: ANN401 - an array of the side
        """The same values; types that numpy lacks as their bits."""
        ...

    def from_host(self, array: Host) -> Any:  # noqa: ANN401
        """An array of its own with the values of what `to_host` made."""
        ...


def check_caches(arrays: Sequence[Host], count: int, axes: int, dtype: np.dtype[Any]) -> None:
    """Raises StateError unless there are `count` arrays of so many axes and this type."""
    if len(arrays) != count or any((array.ndim, array.dtype) != (axes, dtype) for array in arrays):
        found = ", ".join(sorted({f"{array.dtype} of {array.ndim} axes" for array in arrays}))
        raise StateError(f"expected {count} caches {dtype} of {axes} axes, found {len(arrays)}: {found}")
