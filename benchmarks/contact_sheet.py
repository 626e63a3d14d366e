"""Contact sheets: what was under the text, what two fills made of it, and how both move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clear_rt import frames
from clear_rt.metrics.page import ERROR_GAIN, Row, enlarged, error_picture, page
from clear_rt.shapes import Box, Size, grow

UInt8 = npt.NDArray[np.uint8]
SHEET_ROWS, SHEET_MARGIN_PX, LEAST_CROP_PX = 5, 16, 480


def pictures_of(videos: Mapping[str, Path]) -> Iterator[dict[str, UInt8]]:
    """RGB uint8 [H, W, 3] of all videos, frame by frame; of "mask" the alpha uint8 [H, W]."""
    infos = [frames.probe(path) for path in videos.values()]
    size = infos[0].height_px, infos[0].width_px
    for pictures in zip(*map(frames.read, infos), strict=True):
        yield {
            name: picture.planes[0].samples if name == "mask" else picture.rgb(*size)
            for name, picture in zip(videos, pictures, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a mask video holds text: the box around all of it, its most covered row, the frames with any."""

    box: Box
    row_px: int
    frames: tuple[int, ...]


def extent(mask: Path) -> Extent:
    """Raises ValueError where the mask is empty throughout."""
    info = frames.probe(mask)
    with_text, total = [], np.zeros((info.height_px, info.width_px))
    for frame in frames.read(info):
        alpha = frame.planes[0].samples
        total += alpha
        with_text += [frame.index] if alpha.any() else []
    if not with_text:
        raise ValueError(f"{mask} is empty, so there is no text to draw a sheet of")
    rows, columns = np.flatnonzero(total.any(axis=1)), np.flatnonzero(total.any(axis=0))
    x_px, y_px = int(columns[0]), int(rows[0])
    tight = Box(x_px, y_px, int(columns[-1]) + 1 - x_px, int(rows[-1]) + 1 - y_px)
    box = grow(tight, SHEET_MARGIN_PX, SHEET_MARGIN_PX, Size(info.width_px, info.height_px))
    # Not the middle row: between two lines of text it would show none.
    return Extent(box, int(total.sum(axis=1).argmax()), tuple(with_text))


def draw_sheet(videos: Mapping[str, Path], target: Path) -> None:
    """A PNG of the text's surroundings: five frames as rows, and below them one row of pixels over time."""
    shown = extent(videos["mask"])
    rows, columns = shown.box.slices
    chosen = {shown.frames[i] for i in np.linspace(0, len(shown.frames) - 1, SHEET_ROWS).round().astype(int)}
    sheet_rows: list[list[UInt8 | None]] = []
    slices: dict[str, list[UInt8]] = {"clean": [], "membrane": [], "model": []}
    for index, pictures in enumerate(pictures_of({name: videos[name] for name in ("source", *slices)})):
        for name, strip in slices.items():
            strip.append(pictures[name][shown.row_px, columns].copy())
        if index in chosen:
            crops = {name: picture[rows, columns] for name, picture in pictures.items()}
            errors = [error_picture(crops[fill], crops["clean"]) for fill in ("membrane", "model")]
            sheet_rows.append([*crops.values(), *errors])
    strips = [np.stack(strip) for strip in slices.values()]
    sheet_rows.append([None, *strips, None, None])
    titles = ("source", "clean", "membrane", "model", f"membrane, error x{ERROR_GAIN}", f"model, error x{ERROR_GAIN}")
    scale = -(-LEAST_CROP_PX // shown.box.width_px)
    drawn = page(
        titles,
        [Row("", [None if part is None else enlarged(part, scale) for part in row]) for row in sheet_rows],
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    frames.write_png(target, drawn)
