"""Decoding times, made from presentation times: those of the encoders do not fit together where segments meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def reorder_depth(pts: Sequence[int] | NDArray[np.int64]) -> int:
    """By how many places, at most, a packet stands behind the place that its presentation time gives it."""
    if not len(pts):
        return 0
    places = np.empty(len(pts), np.int64)
    places[np.argsort(np.asarray(pts), kind="stable")] = np.arange(len(pts))
    return int(np.max(np.arange(len(pts)) - places))


def decoding_times(pts: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """Strictly growing times int64 [N], none later than its packet's, for `pts` [N] in decoding order, all different.

    The n-th packet is decoded when the picture `depth` places before it is shown; the first ones as much earlier as the
    first picture's wait for the one `depth` places after it, which is what x264 does.
    """
    shown = np.sort(pts)
    if depth == 0 or not len(shown):
        return shown
    lead = shown[min(depth, len(shown) - 1)] - shown[0]
    return np.concatenate([shown[:depth] - lead, shown[:-depth]])[: len(shown)]
