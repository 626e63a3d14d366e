"""A few frames of a run for the page: source, occlusion map with the matte, result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clear_rt.glance import glance
from clear_rt.second_pass import Cleaned

UInt8 = NDArray[np.uint8]
MOST_FRAMES = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures uint8 [h, w, 3], as `glance`."""

    index: int
    time_us: int
    source: UInt8
    occlusion: UInt8
    result: UInt8


class Gallery:
    """Watches a run. Frames are spread over those that were changed: where twice as many as wanted are held, every
    second goes.
    """

    def __init__(self) -> None:
        self._shown: list[Shown] = []
        self._every, self._seen = 1, 0

    def __call__(self, cleaned: Cleaned) -> None:
        if cleaned.result is cleaned.source:
            return
        if self._seen % self._every == 0:
            self._shown.append(_shown(cleaned))
            if len(self._shown) == 2 * MOST_FRAMES:
                self._shown, self._every = self._shown[::2], 2 * self._every
        self._seen += 1

    @property
    def frames(self) -> list[Shown]:
        return self._shown[:: max(1, -(-len(self._shown) // MOST_FRAMES))]


def _shown(cleaned: Cleaned) -> Shown:
    """The map is white where there is text, the matte around it red."""
    seen, frame = glance(cleaned), cleaned.source
    painted = np.stack([np.maximum(seen.occlusion, seen.matte // 2), seen.occlusion, seen.occlusion], axis=2)
    return Shown(frame.index, frame.time_us, seen.source, painted, seen.result)
