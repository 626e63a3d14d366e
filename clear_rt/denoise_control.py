"""The control latents of a run, window by window, none pulled before its window and none kept after its last."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from clear_rt.canvas import Array, Canvas
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
