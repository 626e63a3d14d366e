"""Small lossless videos of any pixel format, made with PyAV."""

from fractions import Fraction

import av
import numpy as np
import pytest

CODECS = {"nv12": "rawvideo", "gbrp": "utvideo", "rgb24": "rawvideo", "yuvj420p": "mjpeg"}


@pytest.fixture(scope="session")
def make_video(tmp_path_factory):
    """Function (pixel_format, width_px, height_px, frames, rate, first, matrix, tags) -> path of a moving gradient."""

    def make(pixel_format="yuv420p", width_px=96, height_px=64, frames=6, rate=10, first=0, matrix=None, **tags):
        codec = "libx264" if matrix else CODECS.get(pixel_format, "ffv1")
        path = tmp_path_factory.mktemp("video") / (
            "clip.mov" if matrix else "clip.nut" if codec in ("rawvideo", "utvideo") else "clip.mkv"
        )
        with av.open(path, "w") as container:
            stream = container.add_stream(codec, rate=rate, options={"qp": "0"} if matrix else {})
            stream.width, stream.height, stream.pix_fmt = width_px, height_px, pixel_format
            for name, value in tags.items():
                setattr(stream.codec_context, name, value)
            if matrix:
                stream.set_display_matrix(matrix)
            rows, columns = np.mgrid[0:height_px, 0:width_px]
            for i in range(frames):
                levels = (rows * 5 + columns * 3 + i * 7) % 97 + 60
                rgb = np.stack([levels, np.roll(levels, 9, 1), levels[::-1]], -1).astype(np.uint8)
                picture = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixel_format)
                picture.pts, picture.time_base = i + first, Fraction(1, rate)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path

    return make
