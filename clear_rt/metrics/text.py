"""Text found by a detector that has nothing to do with this project (PP-OCRv4 detection, through RapidOCR)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.metrics.optional import rapidocr

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


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


# Letters fill 20 to 40 % of a box drawn tightly around them; a box that takes a whole scene for text holds 1 %.
LEAST_MASK_SHARE = 0.1


class TextShare:
    """Counts the pictures in which `finder` finds a box at all, and one that lies on the mask."""

    def __init__(self, finder: TextFinder) -> None:
        self._finder = finder
        self._looked, self._found, self._on_mask = 0, 0, 0

    def add(self, rgb: UInt8, mask: Bool | None = None) -> None:
        """Look at one uint8 [H, W, 3] picture; mask bool [H, W]."""
        boxes = self._finder.boxes(rgb)
        self._looked += 1
        self._found += len(boxes) > 0
        self._on_mask += mask is not None and any(_mask_share(box, mask) >= LEAST_MASK_SHARE for box in boxes)

    def result(self) -> float | None:
        """Share of the pictures with text, 0..1; None where none was looked at."""
        return self._found / self._looked if self._looked else None

    def on_mask(self) -> float | None:
        """Share of the pictures with text on the mask, 0..1; None where none was looked at."""
        return self._on_mask / self._looked if self._looked else None


def _mask_share(corners: npt.NDArray[np.float32], mask: Bool) -> float:
    """How much of the upright rectangle around float32 [4, 2] corners (x, y) is mask."""
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    part = mask[top:bottom, left:right]
    return float(part.mean()) if part.size else 0.0
