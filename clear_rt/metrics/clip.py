"""Running figures of one clip: beside the clean one where there is one, and of text found in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.metrics.judges import Judges
from clear_rt.metrics.neighbours import Neighbours
from clear_rt.metrics.psnr import PsnrSum
from clear_rt.metrics.score import Score
from clear_rt.metrics.ssim import similarity
from clear_rt.metrics.text import TextShare

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


class ClipSum:
    """Adds up frames one by one; memory does not grow with their number."""

    def __init__(self, judges: Judges) -> None:
        self._judges = judges
        self._psnr = PsnrSum()
        self._totals: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._masked = False
        self._text = TextShare(judges.finder) if judges.finder is not None else None

    def add(self, rgb: UInt8, clean: UInt8 | None, mask: Bool | None, sampled: bool) -> None:
        """One frame uint8 [H, W, 3], the clean one, and bool [H, W], True inside the mask, where they are there."""
        self._masked = mask is not None
        if clean is not None:
            self._psnr.add(rgb, clean, mask)
        if not sampled:
            return
        if self._text is not None:
            self._text.add(rgb, mask)
        if clean is not None:
            alike = similarity(rgb, clean)
            self._count("ssim", alike.ssim)
            self._count("ms_ssim", alike.ms_ssim)
            for name, judge in (("lpips", self._judges.lpips), ("dists", self._judges.dists)):
                if judge is not None:
                    self._count(name, judge(rgb, clean))

    def score(self, neighbours: Neighbours | None = None, warping_ratio: float | None = None) -> Score:
        """The figures of all frames added so far, with what was found elsewhere."""
        text = self._text
        return Score(
            psnr=self._psnr.result(),
            ssim=self._mean("ssim"),
            ms_ssim=self._mean("ms_ssim"),
            lpips=self._mean("lpips"),
            dists=self._mean("dists"),
            frames_with_text=None if text is None else text.result(),
            frames_with_text_on_mask=None if text is None or not self._masked else text.on_mask(),
            neighbours=neighbours or Neighbours(),
            warping_ratio=warping_ratio,
        )

    def _count(self, name: str, value: float | None) -> None:
        if value is not None:
            self._totals[name] = self._totals.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def _mean(self, name: str) -> float | None:
        return self._totals[name] / self._counts[name] if name in self._counts else None
