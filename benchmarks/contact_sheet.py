"""Contact sheets: what was under the text, what two fills made of it, and how both move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from clear_rt import frames
from clear_rt.shapes import Box, Size, grow

UInt8 = npt.NDArray[np.uint8]
SHEET_ROWS, SHEET_MARGIN_PX, SHEET_GAP_PX, LEAST_CROP_PX = 5, 16, 4, 480
LABEL_PX, FONT_PX = 36, 28
ERROR_GAIN = 4


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
    sheet_rows: list[list[UInt8]] = []
    slices: dict[str, list[UInt8]] = {"clean": [], "membrane": [], "model": []}
    for index, pictures in enumerate(pictures_of({name: videos[name] for name in ("source", *slices)})):
        for name, strip in slices.items():
            strip.append(pictures[name][shown.row_px, columns].copy())
        if index in chosen:
            crops = {name: picture[rows, columns] for name, picture in pictures.items()}
            errors = [_error(crops[fill], crops["clean"]) for fill in ("membrane", "model")]
            sheet_rows.append([*crops.values(), *errors])
    strips = [np.stack(strip) for strip in slices.values()]
    blank = np.zeros_like(strips[0])
    sheet_rows.append([blank, *strips, blank, blank])
    titles = ("source", "clean", "membrane", "model", f"membrane, error x{ERROR_GAIN}", f"model, error x{ERROR_GAIN}")
    scale = -(-LEAST_CROP_PX // shown.box.width_px)
    target.parent.mkdir(parents=True, exist_ok=True)
    _page(titles, sheet_rows, scale).save(target)


def _error(picture: UInt8, clean: UInt8) -> UInt8:
    difference = ERROR_GAIN * np.abs(picture.astype(np.int32) - clean)
    shown: UInt8 = np.minimum(difference, 255).astype(np.uint8)
    return shown


def _page(titles: tuple[str, ...], rows: list[list[UInt8]], scale: int) -> Image.Image:
    """Pictures uint8 [h, w, 3] in rows under their titles, every pixel `scale` times as large."""
    step_x_px = scale * rows[0][0].shape[1] + SHEET_GAP_PX
    heights_px = [scale * row[0].shape[0] + SHEET_GAP_PX for row in rows]
    page = Image.new("RGB", (len(titles) * step_x_px, LABEL_PX + sum(heights_px)), "white")
    for column, title in enumerate(titles):
        ImageDraw.Draw(page).text((column * step_x_px, 0), title, fill="black", font_size=FONT_PX)
        top_px = LABEL_PX
        for row, height_px in zip(rows, heights_px, strict=True):
            enlarged = row[column].repeat(scale, axis=0).repeat(scale, axis=1)
            page.paste(Image.fromarray(enlarged), (column * step_x_px, top_px))
            top_px += height_px
    return page
