"""Pictures in rows and columns under titles, every row with a line above it: contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt.metrics.optional import pillow

UInt8 = npt.NDArray[np.uint8]
GAP_PX = 4
TITLE_PX, TITLE_FONT_PX = 36, 28
LABEL_PX, LABEL_FONT_PX = 24, 18
ERROR_GAIN = 4


class Row(NamedTuple):
    """Pictures uint8 [h, w, 3] of one height, a column each, None where a column stays empty; `label` may be empty."""

    label: str
    pictures: Sequence[UInt8 | None]


def error_picture(picture: UInt8, reference: UInt8) -> UInt8:
    """Their difference, four times as strong: uint8 [h, w, 3]."""
    shown: UInt8 = np.minimum(ERROR_GAIN * np.abs(picture.astype(np.int32) - reference), 255).astype(np.uint8)
    return shown


def enlarged(picture: UInt8, scale: int) -> UInt8:
    """Every pixel `scale` times as wide and as high."""
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def page(titles: Sequence[str], rows: Sequence[Row]) -> UInt8:
    """The sheet, uint8 [H, W, 3], black on white; a column is as wide as its widest picture and its title.

    Raises:
        ConfigError: Pillow is not installed.
    """
    image, draw = pillow()
    lefts = np.cumsum([0, *_widths_px(titles, rows)])
    heights_px = [_height_px(row) for row in rows]
    sheet = image.new("RGB", (int(lefts[-1]), TITLE_PX + sum(heights_px)), "white")
    pen = draw.Draw(sheet)
    for left_px, title in zip(lefts[:-1], titles, strict=True):
        pen.text((int(left_px), 0), title, fill="black", font_size=TITLE_FONT_PX)
    top_px = TITLE_PX
    for row, height_px in zip(rows, heights_px, strict=True):
        if row.label:
            pen.text((0, top_px), row.label, fill="black", font_size=LABEL_FONT_PX)
        for left_px, picture in zip(lefts, row.pictures, strict=False):
            if picture is not None:
                sheet.paste(image.fromarray(picture), (int(left_px), top_px + (LABEL_PX if row.label else 0)))
        top_px += height_px
    drawn: UInt8 = np.asarray(sheet)
    return drawn


def _widths_px(titles: Sequence[str], rows: Sequence[Row]) -> list[int]:
    image, draw = pillow()
    pen = draw.Draw(image.new("RGB", (1, 1)))
    widths_px = []
    for column, title in enumerate(titles):
        shown = [row.pictures[column] for row in rows]
        widest_px = max((picture.shape[1] for picture in shown if picture is not None), default=0)
        widths_px.append(max(widest_px, int(pen.textlength(title, font_size=TITLE_FONT_PX)) + 1) + GAP_PX)
    return widths_px


def _height_px(row: Row) -> int:
    highest_px = max((picture.shape[0] for picture in row.pictures if picture is not None), default=0)
    return highest_px + GAP_PX + (LABEL_PX if row.label else 0)
