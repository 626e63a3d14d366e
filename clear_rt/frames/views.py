"""Numpy views of PyAV's picture buffers, in stored orientation."""

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from clear_rt.frames.layout import PixelLayout


def plane_rows(plane: VideoPlane) -> NDArray[np.uint8]:
    """All bytes of a buffer as [rows, bytes per row], padding included, top row first."""
    rows = np.frombuffer(cast(Any, plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    return rows[::-1] if plane.line_size < 0 else rows


def component_views(picture: av.VideoFrame, layout: PixelLayout, writable: bool = False) -> list[NDArray[Any]]:
    """Views [h, w] of every component in the layout's order, without padding."""
    buffers = [plane_rows(plane).view(layout.dtype) for plane in picture.planes]
    views = []
    for component in layout.components:
        width_px = -(-picture.width // (1 << component.log2_x))
        height_px = -(-picture.height // (1 << component.log2_y))
        view = buffers[component.buffer][:height_px, component.offset :: component.step][:, :width_px]
        view.flags.writeable = writable
        views.append(view)
    return views
