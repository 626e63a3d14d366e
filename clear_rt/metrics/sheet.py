"""`--sheet`: frames spread over the video, those with most text, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from clear_rt.metrics.page import ERROR_GAIN, Row, enlarged, error_picture, page
from clear_rt.metrics.videos import Together
from clear_rt.shapes import Box, Size, grow, whole

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
ROWS = 5
MARGIN_PX = 24
# What is wider than a column is shrunk; what is small is enlarged by whole numbers as far as it fits into both.
COLUMN_PX, ENLARGED_PX = 640, 360
_TITLES = {
    "source": "input",
    "mask": "occlusion",
    "result": "result",
    "clean": "clean",
    "error": f"result minus clean, x{ERROR_GAIN}",
}


@dataclass(frozen=True, slots=True)
class _Shot:
    """A frame that may become a row: parts uint8 [h, w, 3] by column, and how many pixels of text it has."""

    inside_px: int
    label: str
    pictures: dict[str, UInt8]


class Sheet:
    """A picture of five frames. The video is cut into spans of equal length, of each the frame with most mask is kept,
    cut to the surroundings of the mask; whenever twice as many spans as rows are held, neighbours are merged, so that
    memory does not grow with the video. Columns: input, mask, result, clean, four times the error; those of videos
    that are not there are left out.
    """

    def __init__(self) -> None:
        self._shots: list[_Shot] = []
        self._span_frames, self._seen = 1, 0

    def add(self, frame: Together) -> None:
        """The next frame."""
        inside_px = 0 if frame.mask is None else int(np.count_nonzero(frame.mask))
        place = self._seen % self._span_frames
        is_new = place == 0
        self._seen += 1
        if not is_new:
            # Of equal ones that in the middle, or the first frames of a line would be all that is shown of it.
            least_px = self._shots[-1].inside_px + (place > self._span_frames // 2)
            if inside_px < least_px:
                return
        if is_new and len(self._shots) == 2 * ROWS:
            self._shots = [max(pair, key=_inside_px) for pair in zip(self._shots[::2], self._shots[1::2], strict=True)]
            self._span_frames *= 2
        shot = _Shot(inside_px, _label(frame), _parts(frame))
        if is_new:
            self._shots.append(shot)
        else:
            self._shots[-1] = shot

    def page(self) -> UInt8:
        """The sheet, uint8 [H, W, 3], of the frames so far. Raises ConfigError where Pillow is not installed."""
        candidates = [shot for shot in self._shots if shot.inside_px] or self._shots
        places = np.unique(np.linspace(0, len(candidates) - 1, min(ROWS, len(candidates))).round().astype(int))
        shown = [candidates[place] for place in places]
        columns = [name for name in _TITLES if any(name in shot.pictures for shot in shown)]
        rows = [Row(shot.label, [shot.pictures.get(name) for name in columns]) for shot in shown]
        return page([_TITLES[name] for name in columns], rows)


def _inside_px(shot: _Shot) -> int:
    return shot.inside_px


def _label(frame: Together) -> str:
    result = frame.frames["result"]
    return f"frame {result.index}, {result.time_us / 1e6:.2f} s"


def _parts(frame: Together) -> dict[str, UInt8]:
    rows, columns = _surroundings(frame).slices
    parts = {name: rgb[rows, columns] for name, rgb in frame.rgb.items()}
    if frame.mask is not None:
        parts["mask"] = np.repeat(np.where(frame.mask[rows, columns], np.uint8(255), np.uint8(0))[..., None], 3, axis=2)
    if "clean" in parts:
        parts["error"] = error_picture(parts["result"], parts["clean"])
    return {name: _at_column_width(part) for name, part in parts.items()}


def _surroundings(frame: Together) -> Box:
    """The box around the mask and a margin; the whole picture where nothing is masked."""
    height_px, width_px = frame.rgb["result"].shape[:2]
    size = Size(width_px, height_px)
    if frame.mask is None or not frame.mask.any():
        return whole(size)
    down, across = np.flatnonzero(frame.mask.any(axis=1)), np.flatnonzero(frame.mask.any(axis=0))
    x_px, y_px = int(across[0]), int(down[0])
    tight = Box(x_px, y_px, int(across[-1]) + 1 - x_px, int(down[-1]) + 1 - y_px)
    return grow(tight, MARGIN_PX, MARGIN_PX, size)


def _at_column_width(part: UInt8) -> UInt8:
    height_px, width_px = part.shape[:2]
    if width_px <= COLUMN_PX:
        return enlarged(part, max(1, min(COLUMN_PX // width_px, ENLARGED_PX // height_px)))
    height_px = max(1, round(height_px * COLUMN_PX / width_px))
    shrunk: UInt8 = cv2.resize(np.ascontiguousarray(part), (COLUMN_PX, height_px), interpolation=cv2.INTER_AREA)
    return shrunk
