"""Every picture of a video as NVDEC decodes it, and whether that is what the CPU gives.

PyAV copies each picture from the GPU with its time, colour description and side data. H.264, HEVC, VP8 and VP9 define
every sample of a picture, so there both decoders have to agree; the transforms of older codecs may be rounded freely.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import islice, zip_longest

import av
import numpy as np
from av.video.stream import VideoStream

from clear_rt.frames.clock import FileOrder
from clear_rt.frames.decode_cpu import cpu_pictures
from clear_rt.frames.failures import GPU_ERRORS, NO_GPU, gpu_reason
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.opening import open_on_gpu
from clear_rt.frames.planar import SEMI_PLANAR, Planar
from clear_rt.frames.scale import Scaler
from clear_rt.frames.side_data import side_data_of
from clear_rt.frames.views import component_views
from clear_rt.runtime.device import gpu_count

_EXACT_CODECS = {"h264", "hevc", "vp8", "vp9"}
# Enough for key frames and those that refer to others both ways.
_COMPARED_FRAMES = 8
_COLOUR = ("color_range", "color_primaries", "color_trc", "colorspace")
_TAGS = ("pts", "duration", "time_base", *_COLOUR, "interlaced_frame")


def nvdec_pictures(info: VideoInfo) -> Generator[av.VideoFrame, None, None]:
    """In presentation order and in `info`'s pixel format, stamped as the file is. Raises one of GPU_ERRORS."""
    order, planar = FileOrder(info.container), Planar(info.pixel_format)
    with open_on_gpu(info.path) as container:
        stream = container.streams[info.stream_index]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            order.add(packet)
            for picture in packet.decode():
                order.stamp(picture)
                yield planar(picture)


def refusal(info: VideoInfo) -> str | None:
    """Why NVDEC is not to decode this video, as half a sentence; None where its first frames come out as the CPU's.

    Raises InputError where the CPU cannot decode them.
    """
    if gpu_count() == 0:
        return NO_GPU
    if info.codec not in _EXACT_CODECS or info.pixel_format not in SEMI_PLANAR:
        return f"NVDEC is given H.264, HEVC, VP8 and VP9 of 4:2:0, and this is {info.codec} {info.pixel_format}"
    if info.is_interlaced:
        return "the video is interlaced"
    return disagreement(info)


def disagreement(info: VideoInfo) -> str | None:
    """What the first frames differ in between NVDEC and the CPU, or why NVDEC gives none; None where they are equal."""
    try:
        with closing(nvdec_pictures(info)) as gpu, closing(cpu_pictures(info)) as cpu:
            pairs = zip_longest(islice(gpu, _COMPARED_FRAMES), islice(cpu, _COMPARED_FRAMES))
            for index, (found, expected) in enumerate(pairs):
                if found is None or expected is None:
                    return f"NVDEC and the CPU do not give the same number of frames, {index}"
                if what := difference(found, expected):
                    return f"NVDEC and the CPU differ in the {what} of frame {index}"
    except GPU_ERRORS as error:
        return f"NVDEC does not decode it ({gpu_reason(error)})"
    return None


def difference(found: av.VideoFrame, expected: av.VideoFrame) -> str | None:
    """The first thing that two pictures differ in, None where nothing tells them apart."""
    formats = [(picture.width, picture.height, picture.format.name) for picture in (found, expected)]
    if formats[0] != formats[1]:
        return "size or pixel format"
    for tag in _TAGS:
        if getattr(found, tag) != getattr(expected, tag):
            return tag.replace("_", " ")
    if sorted(side_data_of(found)) != sorted(side_data_of(expected)):
        return "side data"
    layout = pixel_layout(expected.format.name)
    assert layout is not None
    pairs = zip(component_views(found, layout), component_views(expected, layout), strict=True)
    if not all(np.array_equal(*pair) for pair in pairs):
        return "samples"
    # Where chroma is sited cannot be read through PyAV, but swscale heeds it when it scales.
    half_px = -(-expected.height // 2), -(-expected.width // 2)
    mine, its = (Scaler().rgb(picture, *half_px) for picture in (found, expected))
    return None if np.array_equal(mine, its) else "place of chroma"
