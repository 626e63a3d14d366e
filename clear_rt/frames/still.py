"""`write_png`: one RGB picture as a PNG file that appears whole or not at all."""

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


def write_png(target: Path, rgb: NDArray[np.uint8]) -> None:
    """Write uint8 [H, W, 3]. Raises OutputError where `target` cannot be written; it then stays as it was."""
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "rgb24"
    encoder.framerate = Fraction(1)
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    partial = Partial(target)
    try:
        partial.path.write_bytes(b"".join(bytes(packet) for packet in packets))
        partial.commit()
    except AV_ERRORS as error:
        raise OutputError(f"{target} cannot be written: {reason(error)}; {remedy(error)}") from error
    finally:
        partial.discard()
