"""Moving pictures, so that encoders reorder frames, and what a player makes of a file of them."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction

import av
import numpy as np

from clear_rt.config import WriteConfig
from clear_rt.frames import SegmentedWriter, Work, probe, read
from clear_rt.frames.layout import layout_to_write
from clear_rt.frames.views import component_views
from tests.frames.conftest import encode

QUIET = {"x265-params": "log-level=none"}
_UNEVEN = (0, 700, 1100, 2400, 2500, 9000, 9300, 12000)


def moving_picture(pixel_format, width_px, height_px, time):
    """Waves that move on with `time`."""
    layout = layout_to_write(pixel_format)
    picture = av.VideoFrame(width_px, height_px, pixel_format)
    for view in component_views(picture, layout, writable=True):
        y, x = np.mgrid[: view.shape[0], : view.shape[1]]
        waves = 0.25 * np.sin((x + 2 * time) * 0.3) * np.cos((y - time) * 0.2)
        values = (0.5 + waves + 0.2 * np.sin((x - y + 3 * time) * 0.11)) * (2**layout.bits - 1)
        view[...] = values.astype(layout.dtype) << layout.shift
    return picture


def moving_clip(path, frames, codec="libx264", pixel_format="yuv420p", size=(96, 64), uneven=False, **options):
    """A video of `frames` moving pictures, with frames of different length if `uneven`."""
    pictures = [moving_picture(pixel_format, *size, time) for time in range(frames)]
    if uneven:
        options["stamps"] = [i // 8 * 13_000 + _UNEVEN[i % 8] for i in range(frames)]
        options["time_base"] = Fraction(1, 12_800)
    return encode(path, pictures, codec=codec, **options)


@contextmanager
def writing(source, target, edits=None, segment_frames=7, **config):
    """A SegmentedWriter with work of its own."""
    info, write_config = probe(source), WriteConfig(**config)
    options = {"write": asdict(write_config), "segment_frames": segment_frames}
    with (
        Work(info.path, target, options) as work,
        SegmentedWriter(info, target, write_config, work, segment_frames=segment_frames, edits=edits) as writer,
    ):
        yield writer


def write(source, target, edited=(), stop=None, **options):
    """Every frame through a SegmentedWriter, those in the ranges `edited` with a black bar. Returns the writer."""
    with writing(source, target, **options) as writer:
        for frame in read(source):
            if stop is not None and frame.index == stop:
                raise KeyboardInterrupt
            if any(start <= frame.index < end for start, end in edited):
                frame = frame.edited()
                frame.planes[0].samples[:20] = 0
            writer.write(frame)
    return writer


def video_packets(path):
    """(pts, dts, duration, is_keyframe, bytes) of the first video stream, in decoding order."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        return [(p.pts, p.dts, p.duration, p.is_keyframe, bytes(p)) for p in packets if p.size]


def every_packet(path):
    """All streams: (stream index, pts, dts, duration, is_keyframe, bytes)."""
    with av.open(str(path)) as container:
        return [
            (p.stream_index, p.pts, p.dts, p.duration, p.is_keyframe, bytes(p)) for p in container.demux() if p.size
        ]


def check_times(packets):
    """Decoding times grow, and nothing is decoded after it is shown; Matroska knows no first decoding times."""
    times = [dts for _, dts, *_ in packets if dts is not None]
    assert all(b > a for a, b in itertools.pairwise(times))
    assert all(dts is None or dts <= pts for pts, dts, *_ in packets)


def times_us(path):
    return [frame.time_us for frame in read(path)]


def hashed(path):
    """One hash of all decoded samples and times."""
    digest = hashlib.sha256()
    for frame in read(path):
        digest.update(str(frame.time_us).encode())
        for plane in frame.planes:
            digest.update(np.ascontiguousarray(plane.samples))
    return digest.hexdigest()


def decoded(path):
    """Pictures by pts, and what FFmpeg complained of while it decoded them."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(False) as complaints, av.open(str(path)) as container:
            container.streams.video[0].thread_type = "NONE"
            pictures = {picture.pts: picture.to_ndarray() for picture in container.decode(video=0)}
    finally:
        av.logging.set_level(before)
    return pictures, complaints


def seek_everywhere(path, pictures):
    """From every key picture on, a player that starts there shows what one shows that started at the beginning."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        name, headers = stream.codec_context.codec.name, stream.codec_context.extradata
    starts = [i for i, packet in enumerate(packets) if packet.is_keyframe]
    for start, following in itertools.zip_longest(starts, starts[2:], fillvalue=len(packets)):
        if start == len(packets):
            break
        decoder = av.CodecContext.create(name, "r")
        decoder.extradata, decoder.thread_type = headers, "NONE"
        shown = [p for packet in [*packets[start:following], None] for p in decoder.decode(packet)]
        shown = {picture.pts: picture.to_ndarray() for picture in shown if picture.pts >= packets[start].pts}
        assert packets[start].pts in shown
        assert all(np.array_equal(array, pictures[pts]) for pts, array in shown.items())
    return len(starts)
