"""Takes veils off a frame: what is behind them comes back by its own arithmetic, letters and rims are left to fill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from clear_rt.composite import stored
from clear_rt.frames import Frame
from clear_rt.matte_planes import luma_alpha
from clear_rt.regions import without
from clear_rt.shapes import Box, Size, grow, inner_box, rescale
from clear_rt.veils.blend import levels_behind
from clear_rt.veils.following import Veil
from clear_rt.veils.letters import letters
from clear_rt.veils.look import Picture, picture_of
from clear_rt.veils.rim import levels_of

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Shares of the picture's height: 2 px each of 360 rows, for antialiasing and what the codec made of it. Letters grown
# by 3: 2.0 dB less under a veil, by 1: 1.1 dB more, with specks (docs/LOG.md, 2026-11-28).
_RIM_SHARE, _LEAST_RIM_PX = 0.003, 2
_LETTERS_SHARE, _LEAST_LETTERS_PX = 0.0055, 2

# Under 16 boxes 0.3 dB more and a third less flicker than without.
_SMOOTHED_PX, _SMOOTHED_LEVELS, _SMOOTHED_SIGMA_PX = 5, 2.0, 2.0


class Lifted(NamedTuple):
    """A frame without its veils, and what of it is still to be filled.

    `matte` uint8 [h, w] covers all that may be changed, veils as a whole; `hole` uint8 is the same without what was
    lifted, at the picture's own size where there is any.
    """

    frame: Frame
    matte: UInt8
    hole: UInt8


def lifted(
    frame: Frame, matte: UInt8, veils: Sequence[Veil], boxes: Iterable[Box], kept: Sequence[Box], size: Size
) -> Lifted:
    """The frame itself where there are no veils; nothing is changed outside of `boxes`.

    Matte and hole leave out what is `kept`; samples of the frame there have to be `restored`.
    """
    if not veils:
        return Lifted(frame, matte, matte)
    edited, cover = frame.edited(), matte.copy()
    hole = np.zeros((size.height_px, size.width_px), np.uint8)
    for box in boxes:
        np.maximum(hole[box.slices], luma_alpha(matte, size, box), out=hole[box.slices])
    before, after = picture_of(frame), picture_of(edited)
    for veil in veils:
        outer, inner = _outer(veil, size), _inner(veil, size)
        if outer is None:
            continue
        hole[outer.slices] = 255
        cover[rescale(outer, size, Size(matte.shape[1], matte.shape[0])).slices] = 255
        if inner is not None:
            hole[inner.slices] = _grown_letters(before, inner, veil)
            _lift(before, after, inner, veil)
    return Lifted(edited, without(cover, kept, size), without(hole, kept, size))


def _outer(veil: Veil, size: Size) -> Box | None:
    rim_px = _rim_px(size)
    return grow(veil.edges.box, rim_px, rim_px, size).common(veil.within)


def _inner(veil: Veil, size: Size) -> Box | None:
    inner = veil.edges.shrunk(_rim_px(size))
    return inner.box.common(veil.within) if inner.is_box else None


def _rim_px(size: Size) -> int:
    return max(_LEAST_RIM_PX, round(_RIM_SHARE * size.height_px))


def _grown_letters(picture: Picture, inner: Box, veil: Veil) -> UInt8:
    found = letters(picture, inner, veil.blend).astype(np.uint8)
    margin_px = max(_LEAST_LETTERS_PX, round(_LETTERS_SHARE * picture.size.height_px))
    round_kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1, 2 * margin_px + 1))
    return np.asarray(cv2.dilate(found, round_kernel) * 255, np.uint8)


def _smoothed(levels: Floats) -> Floats:
    """Without differences as small as the codec's, which are divided by the share."""
    return np.asarray(cv2.bilateralFilter(levels, _SMOOTHED_PX, _SMOOTHED_LEVELS, _SMOOTHED_SIGMA_PX), np.float32)


def _lift(before: Picture, after: Picture, inner: Box, veil: Veil) -> None:
    """Samples that stand for pixels of the box only, in place."""
    for number, (plane, edited) in enumerate(zip(before.planes, after.planes, strict=True)):
        box = inner_box(inner, plane.step_x_px, plane.step_y_px)
        if box is not None:
            levels = levels_behind(_smoothed(levels_of(plane.samples[box.slices], plane)), veil.blend, number)
            edited.samples[box.slices] = stored(levels * np.float32(2.0 ** (plane.bits - 8)), plane)
