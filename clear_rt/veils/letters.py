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

# Levels of the source beyond what the darkest and the brightest picture would be: codecs overshoot at edges.
_OVERSHOOT_LEVELS = 8
# Text covers so much of a box, and spans so much of its longer side.
_COVERED, _LEAST_SPAN = (0.02, 0.5), 0.4
# Across its lines a box is empty for half of its height at most, and not much more so on one side of the text.
_MOST_EMPTY, _MOST_ASIDE = 0.5, 0.3


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


def hold_text(found: Bools, *, centred: bool) -> bool:
    """Whether letters on a box are all that was written there, as far as their places tell.

    A line of text in colours that a picture could have would be left: letters that are not `centred` on their box,
    though they should be, or that leave half of it empty, are not all.
    """
    box = occupied(found)
    if box is None or not _COVERED[0] <= np.count_nonzero(found) / found.size <= _COVERED[1]:
        return False
    rows, columns = found.shape
    lying = columns >= rows
    across_px, along_px, span_px = (rows, columns, box.width_px) if lying else (columns, rows, box.height_px)
    places = np.flatnonzero(found.any(axis=int(lying)))
    before, after = int(places[0]), across_px - 1 - int(places[-1])
    gaps = [before, after, *(np.diff(places) - 1)]
    return bool(
        span_px >= _LEAST_SPAN * along_px
        and max(gaps) <= _MOST_EMPTY * across_px
        and (not centred or abs(before - after) <= _MOST_ASIDE * across_px)
    )
