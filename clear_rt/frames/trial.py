"""One picture through an encoder and back: what opening it does not tell."""

from __future__ import annotations

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from clear_rt.frames.failures import GPU_ERRORS, gpu_reason
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.views import component_views

# FFmpeg's own decoder of AV1 works on GPUs only.
_DECODERS = {"av1": "libdav1d"}


def trial(context: VideoCodecContext, pixel_format: str, *, lossless: bool) -> str | None:
    """Encode one picture with `context`, which is set up and not open, and decode it.

    Returns None where a picture of that size comes back that holds the samples of `pixel_format`, the very same ones
    if `lossless`; else what happened instead, as half a sentence.
    """
    name, picture = context.name, _noise(context)
    decoder = av.CodecContext.create(_DECODERS.get(context.codec.canonical_name, context.codec.canonical_name), "r")
    assert isinstance(decoder, VideoCodecContext)
    try:
        packets = [*context.encode(picture), *context.encode(None)]
        decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    except GPU_ERRORS as error:
        return f"{name} does not encode {_described(picture)} ({gpu_reason(error)})"
    if len(decoded) != 1:
        return f"{name} makes {len(decoded)} pictures of one"
    found = decoded[0]
    wanted, given = pixel_layout(pixel_format), pixel_layout(found.format.name)
    assert wanted is not None
    if (found.width, found.height) != (picture.width, picture.height) or not given or not wanted.same_samples(given):
        return f"{name} makes {_described(found)} of {_described(picture)}"
    if lossless and not _equal(picture, found):
        return f"{name} is not lossless here"
    return None


def _described(picture: av.VideoFrame) -> str:
    return f"{picture.width}x{picture.height} {picture.format.name}"


def _noise(context: VideoCodecContext) -> av.VideoFrame:
    assert context.pix_fmt is not None
    layout, random = pixel_layout(context.pix_fmt), np.random.default_rng(0)
    assert layout is not None
    picture = av.VideoFrame(context.width, context.height, layout.name)
    picture.pts, picture.time_base = 0, context.time_base
    picture.color_range = context.color_range
    for view in component_views(picture, layout, True):
        view[...] = random.integers(0, 1 << layout.bits, view.shape, layout.dtype) << layout.shift
    return picture


def _equal(a: av.VideoFrame, b: av.VideoFrame) -> bool:
    layouts = [pixel_layout(picture.format.name) for picture in (a, b)]
    views = [
        [view >> layout.shift for view in component_views(picture, layout)]
        for picture, layout in zip((a, b), layouts, strict=True)
        if layout is not None
    ]
    return all(np.array_equal(mine, its) for mine, its in zip(*views, strict=True))
