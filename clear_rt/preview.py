"""`--preview`: a picture of what a run did."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.glance import glance
from clear_rt.second_pass import Cleaned

UInt8 = npt.NDArray[np.uint8]
ROWS = 4
GAP_PX = 4


class Preview:
    """A PNG of a few frames: source, occlusion map over the matte's outline, result, each as `glance`.

    Every edited frame is a candidate; whenever twice as many as wanted are held, every second is dropped, so the rows
    spread over the run whatever its length.
    """

    def __init__(self) -> None:
        self._rows: list[UInt8] = []
        self._every, self._seen = 12, 0

    def __call__(self, cleaned: Cleaned) -> None:
        if cleaned.result is cleaned.source:
            return
        self._seen += 1
        if (self._seen - 1) % self._every:
            return
        self._rows.append(self._row(cleaned))
        if len(self._rows) == 2 * ROWS:
            self._rows, self._every = self._rows[::2], self._every * 2

    def _row(self, cleaned: Cleaned) -> UInt8:
        seen = glance(cleaned)
        shown = seen.source // 3
        shown[..., 0] = np.maximum(shown[..., 0], seen.occlusion)
        shown[..., 1] = np.maximum(shown[..., 1], seen.matte // 2)
        gap = np.full((len(shown), GAP_PX, 3), 255, np.uint8)
        return np.hstack([seen.source, gap, shown, gap, seen.result])

    def page(self) -> UInt8 | None:
        """The picture, uint8 [h, w, 3]; None where no frame was changed."""
        if not self._rows:
            return None
        rows = self._rows[:: max(1, -(-len(self._rows) // ROWS))]
        gap = np.full((GAP_PX, rows[0].shape[1], 3), 255, np.uint8)
        return np.vstack([part for row in rows for part in (row, gap)][:-1])
