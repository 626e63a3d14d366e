"""What a streamed step hands to the next: the last input frames of every layer that looks back in time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class History:
    """The caches of one pass through a coder, taken and replaced by its layers in the order in which they run.

    `past`: what the step before kept, one tensor per cached layer; None at the beginning of a run. `keep=False`
    forgets the present: a pass over the whole run has no next step, and would hold its largest tensors for nothing.
    """

    def __init__(self, past: Sequence[Tensor] | None, layers: int, *, keep: bool = True) -> None:
        """Raises ValueError where `past` has not exactly one tensor per cached layer."""
        if past is not None and len(past) != layers:
            raise ValueError(f"expected {layers} caches, as the step before returned them, got {len(past)}")
        self.begins = past is None
        self.kept: list[Tensor] = []
        self._past = iter(past or ())
        self._keep = keep

    def take(self) -> Tensor | None:
        """The next layer's past frames; None at the beginning of a run."""
        return None if self.begins else next(self._past)

    def put(self, frames: Tensor) -> None:
        """Keeps the layer's past frames for the next step: a copy, as a view would keep all of its frames alive."""
        if self._keep:
            self.kept.append(frames.clone())
