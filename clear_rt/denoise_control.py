"""The control latents of a run, window by window, none pulled before its window and none kept after its last."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from clear_rt.canvas import Array, Canvas
from clear_rt.restart import Restartable
from clear_rt.states import Named, Stored, numbered, require
from clear_rt.windows import WindowPlan


class ControlFeed:
    """Cuts a sequence of latents [C, h, w] into the windows of a plan; holds what two neighbouring windows share."""

    def __init__(self, latents: Iterable[Array], plan: WindowPlan, canvas: Canvas) -> None:
        self._source, self._plan, self._canvas = iter(latents), plan, canvas
        self._kept: deque[Array] = deque()

    def window(self, i: int) -> Array:
        """Control float32 [C, L, h, w] of window i; windows are asked for in order, each once.

        Raises ValueError where the sequence ends before the window does.
        """
        window = self._plan.windows[i]
        self._kept.extend(islice(self._source, len(window) - len(self._kept)))
        if len(self._kept) < len(window):
            raise ValueError(
                f"expected {self._plan.total_latents} control latents, got {window.start + len(self._kept)}"
            )
        stacked = self._canvas.stacked(tuple(self._kept))
        for _ in range(self._plan.next_start(i) - window.start):
            self._kept.popleft()
        return stacked

    def named(self, side: Restartable) -> Named:
        """The state: what is kept for the next window."""
        return numbered("kept", map(side.to_host, self._kept))

    def restore(self, stored: Stored, side: Restartable, i: int, shape: tuple[int, ...]) -> None:
        """Goes on with window i as whoever was `named` would have, its latents of that shape. Raises StateError."""
        kept = stored.numbered("kept")
        shared = self._plan.windows[i - 1].stop - self._plan.next_start(i - 1) if i else 0
        require(len(kept) == shared, f"expected {shared} control latents for window {i + 1}, found {len(kept)}")
        self._kept.extend(side.from_host(stored.array(f"kept.{k}", shape)) for k in range(shared))
