"""Letters on a veil: what no picture, seen through it, can look like."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.matte_planes import occupied
from clear_rt.shapes import Box, plane_box
from clear_rt.veils.blend import Blend, levels_behind
from clear_rt.veils.look import Picture
from clear_rt.veils.rim import levels_of

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Levels of the source beyond what the darkest and the brightest picture would be: codecs overshoot at edges.
_OVERSHOOT_LEVELS = 8
# Text covers so much of a box, and spans so much of its longer side.
_COVERED, _LEAST_SPAN = (0.02, 0.5), 0.4


def letters(picture: Picture, inside: Box, blend: Blend) -> Bools:
    """Pixels [h, w] of a box under a veil that are no picture's."""
    found = np.zeros((inside.height_px, inside.width_px), np.bool_)
    for number, (plane, (darkest, brightest)) in enumerate(zip(picture.planes, picture.limits, strict=True)):
        outer = plane_box(inside, plane.step_x_px, plane.step_y_px)
        levels = levels_behind(levels_of(plane.samples[outer.slices], plane), blend, number)
        beyond = _OVERSHOOT_LEVELS / blend.share
        strange = (levels < darkest - beyond) | (levels > brightest + beyond)
        pixels = strange.repeat(plane.step_y_px, axis=0).repeat(plane.step_x_px, axis=1)
        y, x = inside.y_px - outer.y_px * plane.step_y_px, inside.x_px - outer.x_px * plane.step_x_px
        found |= pixels[y : y + inside.height_px, x : x + inside.width_px]
    return found


def hold_text(found: Bools) -> bool:
    """Whether letters of a box are enough for text."""
    box = occupied(found)
    if box is None or not _COVERED[0] <= np.count_nonzero(found) / found.size <= _COVERED[1]:
        return False
    height, width = found.shape
    long_px, span_px = (width, box.width_px) if width >= height else (height, box.height_px)
    return bool(span_px >= _LEAST_SPAN * long_px)
