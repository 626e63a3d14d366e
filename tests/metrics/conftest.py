"""Lossless RGB videos from arrays, so that the expected figures can be computed from the very same numbers."""

from fractions import Fraction

import av
import numpy as np
import pytest


@pytest.fixture
def write_frames(tmp_path):
    """Function (name, uint8 [T, H, W, 3] or gray [T, H, W]) -> path of a lossless video of exactly these samples."""

    def write(name, frames, rate=10):
        path = tmp_path / f"{name}.mkv"
        is_gray = frames.ndim == 3
        with av.open(path, "w") as container:
            stream = container.add_stream("ffv1" if is_gray else "libx264rgb", rate=rate, options={"qp": "0"})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "gray" if is_gray else "rgb24"
            for i, samples in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(samples), "gray" if is_gray else "rgb24")
                picture.pts, picture.time_base = i, Fraction(1, rate)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path

    return write
