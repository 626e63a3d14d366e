"""Pictures with a semi-transparent box and letters on it, of every plane layout, whose clean samples are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from clear_rt.frames.frame import Codes
from clear_rt.shapes import Box, Size, plane_box, whole
from clear_rt.veils.look import picture_of
from tests.test_composite import Picture
from tests.test_propagation import panned, picture

SIZE = Size(320, 180)
BOX = Box(80, 110, 160, 40)
MATTE_PX = 3
ALL_CODES = Codes(0.299, 0.114, full_range=True)


@dataclass(frozen=True)
class Shot(Picture):
    """As a frame: `codes` use their whole range."""

    codes: Codes = ALL_CODES
    index: int = 0

    def edited(self) -> Shot:
        return Shot(super().edited().planes, self.codes, self.index)


def shot(scene: np.ndarray, layout: str = "yuv420p", depth: tuple[int, int] = (8, 0)) -> Shot:
    return Shot(picture(scene, layout, depth).planes)


def scenes(count: int = 1, seed: int = 0) -> list[np.ndarray]:
    """Moving texture, as smooth as most pictures are, float32 [H, W], 0.1..0.9."""
    smooth = [cv2.GaussianBlur(scene, (0, 0), 3) for scene in panned(count, 1.5, SIZE, seed)]
    low, high = min(scene.min() for scene in smooth), max(scene.max() for scene in smooth)
    return [0.1 + 0.8 * (scene - low) / (high - low) for scene in smooth]


def share_of_box(plane, box: Box) -> np.ndarray:
    """How much of every sample of a plane lies in a box."""
    rows, columns = plane.samples.shape
    covered = np.zeros((rows * plane.step_y_px, columns * plane.step_x_px), np.float32)
    # What lies beyond the picture is as its last pixels are.
    right, bottom = (
        end + step if end > total - step else end
        for end, step, total in (
            (box.right_px, plane.step_x_px, covered.shape[1]),
            (box.bottom_px, plane.step_y_px, covered.shape[0]),
        )
    )
    covered[box.y_px : bottom, box.x_px : right] = 1
    return covered.reshape(rows, plane.step_y_px, columns, plane.step_x_px).mean(axis=(1, 3))


def veiled(clean: Shot, share: float, box: Box = BOX, *, colour: int = 20, letters: int | None = 255) -> Shot:
    """`clean` under a box of a grey level of 8 bits, with bars of another as letters."""
    planes = []
    for plane in clean.planes:
        values = (plane.samples >> plane.shift).astype(np.float32)
        grey = 128 if plane.kind == "chroma" else colour
        alpha = (1 - share) * share_of_box(plane, box)
        values += alpha * (grey * 2.0 ** (plane.bits - 8) - values)
        for bar in bars(box) if letters is not None else ():
            ink = share_of_box(plane, bar)
            level = 128 if plane.kind == "chroma" else letters
            values += ink * (level * 2.0 ** (plane.bits - 8) - values)
        stored = np.rint(values).astype(plane.samples.dtype) << plane.shift
        planes.append(replace(plane, samples=plane.samples if plane.kind == "alpha" else stored))
    return Shot(tuple(planes), clean.codes)


def bars(box: Box) -> list[Box]:
    """Strokes of 3 px every 12, away from the edges of the box."""
    quarter = box.height_px // 4
    return [Box(x, box.y_px + quarter, 3, 2 * quarter) for x in range(box.x_px + 14, box.right_px - 14, 12)]


def matte_of(box: Box = BOX, margin_px: int = MATTE_PX) -> np.ndarray:
    """As the outliner leaves it: some pixels larger than the box."""
    matte = np.zeros((SIZE.height_px, SIZE.width_px), np.uint8)
    matte[max(0, box.y_px - margin_px) : box.bottom_px + margin_px, box.x_px - margin_px : box.right_px + margin_px] = (
        255
    )
    return matte


def found(veils, frame: Shot, matte: np.ndarray):
    return veils.of(picture_of(frame), matte, [whole(SIZE)])


def inside(plane, box: Box) -> tuple[slice, slice]:
    return plane_box(box, plane.step_x_px, plane.step_y_px).slices
