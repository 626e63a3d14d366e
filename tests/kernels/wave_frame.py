"""A frame of slow waves as `clear_rt.frames.read` gives it, in any pixel format, and its planes as torch has them."""

from fractions import Fraction

import av
import numpy as np
import torch

from clear_rt.frames.frame import Frame
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.orientation import Orientation
from clear_rt.frames.scale import Scaler
from clear_rt.frames.views import component_views


def wave_frame(pixel_format, width, height):
    """BT.709, limited range. No colour leaves RGB."""
    layout = pixel_layout(pixel_format)
    picture = av.VideoFrame(width, height, pixel_format)
    for i, view in enumerate(component_views(picture, layout, writable=True)):
        y, x = np.mgrid[: view.shape[0], : view.shape[1]]
        waves = (120, 122, 133)[i] + (60, 14, 16)[i] * np.sin(x / (9 + i) + 0.2 * y)
        view[...] = np.rint(waves * 2.0 ** (layout.bits - 8)).astype(layout.dtype) << layout.shift
    picture.pts, picture.time_base, picture.colorspace, picture.color_range = 0, Fraction(1, 25), 1, 1
    return Frame(picture, 0, 0, layout, Orientation(), Scaler())


def planes_of(frame, device):
    """Copies of all planes, uint16 as int16."""
    samples = (plane.samples.copy() for plane in frame.planes)
    return [torch.from_numpy(s if s.dtype == np.uint8 else s.view(np.int16)).to(device) for s in samples]
