"""One RGB picture as PNG or JPEG: its bytes, or a file that appears whole or not at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from clear_rt.errors import OutputError
from clear_rt.frames.atomic import Partial
from clear_rt.frames.failures import AV_ERRORS, reason, remedy


def png_of(rgb: NDArray[np.uint8]) -> bytes:
    """A file of uint8 [H, W, 3]."""
    return _encoded(rgb, "png", "rgb24", {})


def jpeg_of(rgb: NDArray[np.uint8]) -> bytes:
    """A file of uint8 [H, W, 3], a tenth of the PNG's size, of colours that are not subsampled."""
    return _encoded(rgb, "mjpeg", "yuvj444p", {"qmin": "2", "qmax": "2"})


def _encoded(rgb: NDArray[np.uint8], codec: str, pixel_format: str, options: dict[str, str]) -> bytes:
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24").reformat(format=pixel_format)
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, pixel_format
    encoder.framerate, encoder.options = Fraction(1), options
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def write_png(target: Path, rgb: NDArray[np.uint8]) -> None:
    """Write uint8 [H, W, 3]. Raises OutputError where `target` cannot be written; it then stays as it was."""
    partial = Partial(target)
    try:
        partial.path.write_bytes(png_of(rgb))
        partial.commit()
    except AV_ERRORS as error:
        raise OutputError(f"{target} cannot be written: {reason(error)}; {remedy(error)}") from error
    finally:
        partial.discard()
