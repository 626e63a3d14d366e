"""A cleaned frame at a size to be looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt.matte_planes import luma_alpha
from clear_rt.second_pass import Cleaned
from clear_rt.shapes import Size, whole, working_size

UInt8 = npt.NDArray[np.uint8]
SHORT_SIDE_PX = 360


class Glance(NamedTuple):
    """Pictures uint8 [h, w, 3], and map and matte uint8 [h, w] between them, of one size."""

    source: UInt8
    occlusion: UInt8
    matte: UInt8
    result: UInt8


def glance(cleaned: Cleaned) -> Glance:
    """All of it at the map's size, up to a short side of 360 px; brought down, a pixel is the strongest it covers."""
    height_px, width_px = cleaned.occlusion.shape
    if min(height_px, width_px) <= SHORT_SIDE_PX:
        size, occlusion, matte = Size(width_px, height_px), cleaned.occlusion, cleaned.matte
    else:
        size = working_size(width_px, height_px, SHORT_SIDE_PX)
        occlusion, matte = (luma_alpha(each, size, whole(size)) for each in (cleaned.occlusion, cleaned.matte))
    source, result = (frame.rgb(size.height_px, size.width_px) for frame in (cleaned.source, cleaned.result))
    return Glance(source, occlusion, matte, result)
