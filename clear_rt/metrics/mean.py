"""The mean of many evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clear_rt.metrics.psnr import IDENTICAL_FRAME_DB

# What describes a video, not its quality.
_FACTS = ("frames", "width_px", "height_px", "every_frames", "mask", "vfid")


def mean_of(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every figure of `Evaluation.as_dict`, averaged over the videos that have it; None where none has.

    Every video counts the same, whatever its length. Infinite decibels count as 100. VFID is left out: it is pooled
    over all snippets instead (`judges.Pooled`).
    """
    return {name: _mean([one[name] for one in found]) for name in (found[0] if found else {}) if name not in _FACTS}


def _mean(values: Sequence[Any]) -> Any:  # noqa: ANN401 - JSON values
    known: list[Any] = [IDENTICAL_FRAME_DB if value == "inf" else value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], dict):
        return {name: _mean([value[name] for value in known]) for name in known[0]}
    return sum(known) / len(known)
