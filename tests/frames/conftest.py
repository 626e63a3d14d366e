"""Every input is made here with PyAV: seeded pictures, all pixel formats, other streams, broken files."""

from fractions import Fraction

import av
import numpy as np
import pytest

from clear_rt.config import WriteConfig
from clear_rt.frames import Writer, probe, read
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.views import component_views


def make_picture(pixel_format, width_px, height_px, seed):
    """A picture of seeded noise over a gradient; every component uses its whole range of values."""
    rng = np.random.default_rng(seed)
    layout = pixel_layout(pixel_format)
    picture = av.VideoFrame(width_px, height_px, pixel_format)
    for view in component_views(picture, layout, writable=True):
        ramp = np.linspace(0, 2**layout.bits - 1, view.shape[1])
        noise = rng.normal(0, 2**layout.bits / 16, view.shape)
        values = np.clip(ramp + noise, 0, 2**layout.bits - 1).astype(layout.dtype)
        view[...] = values << layout.shift
    return picture


def encode(path, pictures, codec="ffv1", options=None, stamps=None, rate=25, time_base=None, setup=None, others=None):
    """Write `pictures` at `stamps` (in `time_base`); `setup(stream)` and `others(container)` may add to the file."""
    time_base = time_base or Fraction(1, rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        first = pictures[0]
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        stream.codec_context.time_base = time_base
        if setup:
            setup(stream)
        feed = others(container) if others else None
        for index, picture in enumerate(pictures):
            picture.pts, picture.time_base = (stamps[index] if stamps else index), time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if feed:
            feed()
    return path


@pytest.fixture
def clip(tmp_path):
    """clip(name, pixel_format, width, height, frames, **encode options) -> path of a new video."""

    def make(name="in.mkv", pixel_format="yuv420p", width_px=64, height_px=48, frames=5, **options):
        pictures = [make_picture(pixel_format, width_px, height_px, seed) for seed in range(frames)]
        return encode(tmp_path / name, pictures, **options)

    return make


def samples(path):
    """All samples of all frames in canonical component order, upright, without their shift."""
    return [[plane.samples.copy() >> plane.shift for plane in frame.planes] for frame in read(path)]


def same_samples(a, b):
    """True where two lists of frames hold the same numbers."""
    return len(a) == len(b) and all(
        len(x) == len(y) and all(np.array_equal(p, q) for p, q in zip(x, y, strict=True))
        for x, y in zip(a, b, strict=True)
    )


def rewrite(source, target, edit=None, **config):
    """Run every frame of `source` through a Writer; `edit(frame)` may replace it. Returns the writer."""
    info = probe(source)
    with Writer(info, target, WriteConfig(**config)) as writer:
        for frame in read(info):
            writer.write(edit(frame) if edit else frame)
    return writer


def packets(path, stream_type=None):
    """(stream index, pts in seconds, bytes) of every packet, per stream in order."""
    with av.open(str(path)) as container:
        found = [
            (p.stream_index, p.pts * p.time_base, bytes(p))
            for p in container.demux()
            if p.size and (stream_type is None or p.stream.type == stream_type)
        ]
    return sorted(found, key=lambda item: item[0])


@pytest.fixture
def tools():
    """The functions of this file, for tests that need more than `clip`."""

    class Tools:
        pass

    for function in (make_picture, encode, samples, same_samples, rewrite, packets):
        setattr(Tools, function.__name__, staticmethod(function))
    return Tools
