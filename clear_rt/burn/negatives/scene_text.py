"""Lettering that belongs to the scene: on a plane seen at an angle, moving with the picture. It always stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.burn.negatives.lettering import Hand, lettering, over, random_colour, random_hand, stacked
from clear_rt.burn.negatives.picture_motion import PictureMotion
from clear_rt.burn.overlay import Glimpse, Overlay, Shown, UInt8, straight
from clear_rt.burn.pillow import Image, ImageFilter

Corners = npt.NDArray[np.float64]


class SceneText:
    """A sign, a poster or letters on a wall: a quadrilateral that follows the picture's own motion.

    It is as bright as the picture around it and as soft as lettering that a camera took.
    """

    def __init__(self, width_px: int, height_px: int, scripts: tuple[str, ...], rng: np.random.Generator) -> None:
        self._size_px = width_px, height_px
        board = _board(random_hand(scripts, rng), max(round(height_px * rng.uniform(0.04, 0.16)), 8), rng)
        blur_px = float(rng.uniform(0.4, 1.2)) * height_px / 360
        # Premultiplied, or what is transparent would darken the edges.
        soft = Image.fromarray(board).convert("RGBa").filter(ImageFilter.GaussianBlur(blur_px))
        self._board = soft.convert("RGBA")
        self._corners = _corners(board, width_px, height_px, rng)
        self._motion = PictureMotion(width_px, height_px)
        self._light: float | None = None

    def at(self, time_us: int, glimpse: Glimpse) -> tuple[Shown, ...]:
        self._corners = self._corners + np.array(self._motion.step(glimpse))
        overlay = on_plane(self._board, self._corners, *self._size_px)
        if not overlay.rgba.size:
            return ()
        return (Shown(Overlay(self._lit(overlay.rgba, glimpse), overlay.x_px, overlay.y_px)),)

    def _lit(self, rgba: UInt8, glimpse: Glimpse) -> UInt8:
        """As bright as the scene of the first frame: half as much as its letters in a dark one."""
        if self._light is None:
            self._light = 0.35 + 0.65 * min(float(glimpse(36, 64).mean()) / 120, 1.0)
        lit = rgba.copy()
        lit[..., :3] = np.rint(lit[..., :3] * self._light).astype(np.uint8)
        return lit


def on_plane(board: Image.Image, corners: Corners, width_px: int, height_px: int) -> Overlay:
    """`board` (RGBA) mapped onto the quadrilateral `corners` [4, 2] (x, y; from the upper left, clockwise), as much of
    it as lies within a picture of width_px x height_px.
    """
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, (width_px, height_px))
    if (high <= low).any():
        return Overlay(np.zeros((0, 0, 4), np.uint8), 0, 0)
    size = int(high[0] - low[0]), int(high[1] - low[1])
    mapped = board.transform(
        size, Image.Transform.PERSPECTIVE, _homography(corners - low, board.size), Image.Resampling.BICUBIC
    )
    return Overlay(np.array(mapped), int(low[0]), int(low[1]))


def _homography(corners: Corners, size: tuple[int, int]) -> tuple[float, ...]:
    """The eight numbers that take a point of the picture to one of the board, as Pillow wants them."""
    width, height = size
    board = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    rows, wanted = [], []
    for (x, y), (u, v) in zip(corners, board, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return tuple(float(value) for value in np.linalg.solve(np.array(rows), np.array(wanted)))


def _corners(board: UInt8, width_px: int, height_px: int, rng: np.random.Generator) -> Corners:
    """Turned, leaning back to one side and further away there; the middle anywhere but close to the lower edge."""
    rows, columns = board.shape[:2]
    scale = min(0.6 * width_px / columns, 0.5 * height_px / rows, 1.0)
    half = np.array([columns, rows]) * scale / 2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64) * half
    corners[:, 0] *= rng.uniform(0.55, 1.0)
    near, far = rng.uniform(0.6, 0.95), int(rng.integers(2))
    corners[[1, 2] if far else [0, 3]] *= (1.0, near)
    angle = np.deg2rad(rng.choice([-1, 1]) * rng.uniform(2, 35))
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    middle = np.array([rng.uniform(0.15, 0.85) * width_px, rng.uniform(0.12, 0.7) * height_px])
    return np.asarray(corners @ turn + middle, np.float64)


def _board(hand: Hand, size_px: int, rng: np.random.Generator) -> UInt8:
    """One to three short lines, on a board of one colour or on nothing."""
    on_board = rng.random() < 0.6
    dark = bool(rng.random() < 0.5)
    letters = random_colour(rng, 160) if dark else random_colour(rng, 0, 90)
    count = int(rng.integers(1, 4))
    words = stacked([lettering(hand.line(rng, 10), hand, size_px, letters) for _ in range(count)])
    pad = size_px // 3
    rows, columns = words.shape[0] + 2 * pad, words.shape[1] + 2 * pad
    board = np.zeros((rows, columns, 4), np.uint8)
    if on_board:
        board[..., :3] = random_colour(rng, 0, 110) if dark else random_colour(rng, 150)
        board[2:-2, 2:-2, 3] = 255
        return over(board, words, pad, pad)
    worn = np.pad(words, ((pad, pad), (pad, pad), (0, 0))).astype(np.float32)
    worn[..., 3] *= rng.uniform(0.6, 0.95)
    worn[..., :3] *= worn[..., 3:] / 255
    return straight(worn)
