"""A video whose brightness says which frame it is, with white boxes for text on waves of colour."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from clear_rt.shapes import Box, Size

SIZE = Size(192, 128)
TEXT = Box(40, 96, 100, 10)
LEVELS_PER_FRAME = 3


def numbered_scene(path, count, texts=((0, 1 << 30, TEXT),), size=SIZE, pixel_format="yuv444p", matrix=None):
    """FFV1: brightness that grows from frame to frame, over a slope; `texts` are (first frame, stop, box).

    Red and blue swing by 12 of 255 each way, over 48 pixels, so that content in another place or colour differs.

    `matrix` says how players turn it.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.codec_context.time_base = Fraction(1, 25)
        if matrix:
            stream.set_display_matrix(matrix)
        y, x = np.mgrid[: size.height_px, : size.width_px] * (2 * np.pi / 48)
        swing = 12 * np.sin(x) * np.cos(y)
        slope = np.linspace(0, 20, size.width_px)[None, :, None] + np.stack([swing, 0 * swing, -swing], axis=2)
        for index in range(count):
            rgb = (30 + LEVELS_PER_FRAME * (index % 50) + slope).astype(np.uint8)
            for start, stop, box in texts:
                if start <= index < stop:
                    rgb[box.slices] = 255
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
