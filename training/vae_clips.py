"""Clips for the VAE: 17 frames of footage or of a still panned over, with a caption beside them to burn in at will.

A shard is two arrays of one stretch: pictures uint8 [N, 17, 160, 160, 3] without a caption, and captions uint8
[N, 160, 160, 4], straight alpha, the same over the clip, empty in half of them. Seeded by number, as `training.pairs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.pairs import Clip, Stretch, captions, footage, stretches
from training.shards import write_shards

UInt8 = npt.NDArray[np.uint8]

FRAMES, SIDE_PX = 17, 160
# Three crops of every run of frames: 1281 of footage and 414 of stills, 2.2 GB, in 35 s on two cores.
EVERY_FRAMES, CROPS_PER_RUN = 34, 3
CROPS_PER_STILL = 6
HEIGHTS_PX = (288, 360, 480, 720)
CAPTION_SHARE = 0.5


def _cut(clip: Clip, left_px: float, top_px: float, side_px: float) -> UInt8:
    """The same square of every picture, at SIDE_PX: uint8 [T, SIDE_PX, SIDE_PX, 3]."""
    way = Image.Resampling.BOX if side_px > SIDE_PX else Image.Resampling.BICUBIC
    box = (left_px, top_px, left_px + side_px, top_px + side_px)
    return np.stack([np.asarray(Image.fromarray(f).resize((SIDE_PX, SIDE_PX), way, box)) for f in clip])


def _canvas(width_px: int, height_px: int, rng: np.random.Generator) -> UInt8:
    """The captions of one picture as uint8 [height, width, 4]."""
    canvas = np.zeros((height_px, width_px, 4), np.uint8)
    for overlay in captions(width_px, height_px, rng):
        height, width = overlay.rgba.shape[:2]
        canvas[overlay.y_px : overlay.y_px + height, overlay.x_px : overlay.x_px + width] = overlay.rgba
    return canvas


def _corner(canvas: UInt8 | None, width_px: int, height_px: int, rng: np.random.Generator) -> tuple[int, int]:
    """Left and top of a crop: anywhere, or with a random pixel of the caption in it."""
    left, top = rng.integers(0, width_px), rng.integers(0, height_px)
    if canvas is not None and canvas.any():
        rows, columns = np.nonzero(canvas[..., 3])
        chosen = rng.integers(rows.size)
        left, top = np.array((columns[chosen], rows[chosen])) - rng.uniform(0.1, 0.9, 2) * SIDE_PX
    return int(np.clip(left, 0, width_px - SIDE_PX)), int(np.clip(top, 0, height_px - SIDE_PX))


def caption_crop(width_px: int, height_px: int, rng: np.random.Generator) -> UInt8:
    """A square out of a picture's captions with some of one in it: uint8 [160, 160, 4], straight alpha."""
    canvas = _canvas(width_px, height_px, rng)
    left, top = _corner(canvas, width_px, height_px, rng)
    return canvas[top : top + SIDE_PX, left : left + SIDE_PX]


def make_crop(clip: Clip, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """One crop of a clip scaled to 288 to 720 rows, and its caption: uint8 [T, 160, 160, 3] and [160, 160, 4]."""
    rows, columns = clip[0].shape[:2]
    height = int(rng.choice([h for h in HEIGHTS_PX if h <= max(rows, HEIGHTS_PX[0])]))
    scale = rows / height
    width = int(columns / scale)
    canvas = _canvas(width, height, rng) if rng.random() < CAPTION_SHARE else None
    left, top = _corner(canvas, width, height, rng)
    crop = _cut(clip, left * scale, top * scale, SIDE_PX * scale)
    if canvas is None:
        return crop, np.zeros((SIDE_PX, SIDE_PX, 4), np.uint8)
    return crop, canvas[top : top + SIDE_PX, left : left + SIDE_PX]


def panned(still: Image.Image, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """A square of a still that the camera moves and zooms over; as `make_crop`."""
    width, height = still.size
    side = SIDE_PX * rng.uniform(0.8, min(4.0, min(width, height) / SIDE_PX / 1.2))
    position = np.array((rng.uniform(0, width - side), rng.uniform(0, height - side)))
    speed, zoom = rng.normal(0, 1.5, 2) * side / SIDE_PX, 1 + rng.normal(0, 0.002)
    pictures = []
    for t in range(FRAMES):
        side_t = min(side * zoom**t, width, height)
        left, top = np.clip(position + t * speed, 0, (width - side_t, height - side_t))
        box = (left, top, left + side_t, top + side_t)
        pictures.append(np.asarray(still.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, box)))
    caption = np.zeros((SIDE_PX, SIDE_PX, 4), np.uint8)
    if rng.random() < CAPTION_SHARE:
        caption = caption_crop(640, 360, rng)
    return np.stack(pictures), caption


def _crops(stretch: Stretch, rng: np.random.Generator) -> Iterator[tuple[UInt8, UInt8]]:
    if stretch.stop == 0:
        still = Image.open(stretch.path).convert("RGB")
        still.thumbnail((2560, 1440))
        for _ in range(CROPS_PER_STILL):
            yield panned(still, rng)
        return
    for clip in footage(replace(stretch, every=EVERY_FRAMES), FRAMES):
        for _ in range(CROPS_PER_RUN):
            yield make_crop(clip, rng)


def _shard(job: tuple[int, Stretch, Path, int]) -> int:
    number, stretch, path, seed = job
    crops = list(_crops(stretch, np.random.default_rng([seed, number])))
    np.save(path.with_name(path.name.replace("clips", "captions")), np.stack([caption for _, caption in crops]))
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.stack([pictures for pictures, _ in crops]))
    partial.rename(path)
    return len(crops)


def synthesise(folder: Path, seed: int) -> int:
    """Write the missing shards, clips-NNN.npy and captions-NNN.npy. Returns the crops written."""
    return write_shards("clips", _shard, stretches(), folder, seed)
