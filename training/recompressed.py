"""A clip through an encoder, its decoder and swscale, in memory."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

from training.backgrounds import Clip


def compressed(clip: Clip, codec: str, options: dict[str, str], size: tuple[int, int], interpolation: str) -> Clip:
    """Encode, decode, scale to `size` (width, height) with swscale, as the runtime sees it."""
    height, width = clip[0].shape[:2]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 25)
        for t, picture in enumerate(clip):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = t
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return [
            frame.reformat(*size, format="rgb24", interpolation=interpolation).to_ndarray()
            for frame in container.decode(video=0)
        ]


def random_codec(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """A codec and its options for `training.latent_pairs`. The MPEG ones heed no quality given this way (37.7 dB with 2
    and with 8): they stay as they are for the shards that were made so; `clear_rt.burn.damage` says how it is done.
    """
    name = str(rng.choice(["libx264", "mpeg4", "mpeg2video"], p=[0.75, 0.13, 0.12]))
    if name == "libx264":
        return name, {"crf": str(int(rng.integers(12, 33))), "preset": str(rng.choice(["ultrafast", "veryfast"]))}
    q = str(int(rng.integers(2, 9)))
    return name, {"flags": "+qscale", "global_quality": str(118 * int(q))}
