"""Text found by a detector that has nothing to do with this project (PP-OCRv4 detection, through RapidOCR)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.metrics.optional import rapidocr

UInt8 = npt.NDArray[np.uint8]


class TextFinder:
    """The detector, loaded once. It looks at whole pictures: crops make it see text where there is none.

    Raises:
        ConfigError: RapidOCR is not installed.
    """

    def __init__(self) -> None:
        self._engine = rapidocr().RapidOCR()

    def boxes(self, rgb: UInt8) -> npt.NDArray[np.float32]:
        """Corners of every text box in a uint8 [H, W, 3] picture: float32 [boxes, 4, 2] as (x, y) in pixels."""
        found, _ = self._engine(np.ascontiguousarray(rgb[..., ::-1]), use_cls=False, use_rec=False)
        return np.asarray(found if found is not None else [], np.float32).reshape(-1, 4, 2)


class TextShare:
    """Counts the pictures in which `finder` finds at least one box."""

    def __init__(self, finder: TextFinder) -> None:
        self._finder = finder
        self._looked, self._found = 0, 0

    def add(self, rgb: UInt8) -> None:
        """Look at one uint8 [H, W, 3] picture."""
        self._looked += 1
        self._found += len(self._finder.boxes(rgb)) > 0

    def result(self) -> float | None:
        """Share of the pictures with text, 0..1; None where none was looked at."""
        return self._found / self._looked if self._looked else None
