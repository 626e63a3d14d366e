"""What broadcasters, editors and old cameras write comes back as what it was: codec, profile, fields, and size."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

import clear_rt
from clear_rt.config import RegionConfig, RunConfig, WriteConfig
from clear_rt.frames import probe, read, write_png
from tests.frames.moving import moving_picture

FRAMES, SIZE = 16, (256, 144)
ROWS, COLUMNS = slice(48, 96), slice(96, 160)
FIELDS = {"flags": "+ildct+ilme"}
CASES = [
    ("ts", "mpeg2video", "yuv420p", {"b": "3M", "g": "12", "bf": "2"}),
    ("mkv", "mpeg2video", "yuv420p", {"b": "3M", **FIELDS}),
    ("mxf", "mpeg2video", "yuv422p", {"b": "8M", "g": "12", "bf": "2", **FIELDS}),
    ("mov", "mpeg2video", "yuv422p", {"b": "8M"}),
    ("avi", "mpeg4", "yuv420p", {"b": "2M", "bf": "0"}),
    ("mp4", "mpeg4", "yuv420p", {"b": "2M"}),
    ("avi", "mjpeg", "yuvj420p", {"b": "6M"}),
    ("webm", "libvpx", "yuv420p", {"b": "1M", "deadline": "realtime", "cpu-used": "8"}),
    *(("mov", "prores_ks", "yuv422p10le", {"profile": name}) for name in ("proxy", "lt", "standard", "hq")),
    ("mxf", "prores_ks", "yuv422p10le", {"profile": "hq", "flags": "+ildct"}),
    ("mov", "dnxhd", "yuv422p", {"profile": "dnxhr_hq"}),
    ("mxf", "dnxhd", "yuv422p10le", {"profile": "dnxhr_hqx"}),
]


def make(path, codec, pixel_format, options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.codec_context.time_base = pixel_format, Fraction(1, 25)
        for index in range(FRAMES):
            picture = moving_picture(pixel_format, *SIZE, index)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def asked(tmp_path):
    """Text in the middle of every frame; the rest as usual."""
    shown = np.zeros(SIZE[::-1], np.uint8)
    shown[ROWS, COLUMNS][8:-8, 8:-8] = 255
    write_png(tmp_path / "mask.png", np.dstack([shown] * 3))
    return RunConfig(region=RegionConfig(mask=tmp_path / "mask.png"))


def bits_of(path):
    with av.open(str(path)) as container:
        return 8 * sum(packet.size for packet in container.demux(container.streams.video[0]))


def all_of(path):
    """Samples of all components, times and whether frames are interlaced."""
    shown = [(frame.time_us, frame.picture.interlaced_frame, frame.planes) for frame in read(path)]
    first_us = shown[0][0]
    samples = [[plane.samples >> plane.shift for plane in planes] for _, _, planes in shown]
    return samples, [(time_us - first_us, fields) for time_us, fields, _ in shown]


@pytest.mark.parametrize(("suffix", "codec", "pixel_format", "options"), CASES)
def test_the_codec_stays_what_it_was(tmp_path, asked, suffix, codec, pixel_format, options):
    """A generation more costs little: above 34 dB outside of the region, which is what the first one lost, too."""
    source, target = make(tmp_path / f"in.{suffix}", codec, pixel_format, options), tmp_path / f"out.{suffix}"
    report = clear_rt.remove(source, target, asked)
    was, now = probe(source), probe(target)
    assert report.encoder == codec
    assert (now.codec, now.profile, now.pixel_format) == (was.codec, was.profile, was.pixel_format)
    assert (now.rate, now.container) == (was.rate, was.container)
    (before, times), (after, times_after) = all_of(source), all_of(target)
    assert times_after == times
    assert bits_of(target) < 1.3 * bits_of(source)
    luma = np.stack([old[0].astype(np.float64) - new[0] for old, new in zip(before, after, strict=True)])
    luma[:, ROWS, COLUMNS] = 0
    assert 10 * np.log10((2**was.bit_depth - 1) ** 2 / np.square(luma).mean()) > 34


@pytest.mark.parametrize(
    "config", [WriteConfig(lossless=True), WriteConfig(crf=20), WriteConfig(bitrate=2_000_000)], ids=repr
)
def test_what_prores_cannot_be_told_makes_it_h264(tmp_path, asked, config):
    source = make(tmp_path / "in.mov", "prores_ks", "yuv422p10le", {"profile": "hq"})
    clear_rt.remove(source, tmp_path / "out.mov", replace(asked, write=config))
    assert probe(tmp_path / "out.mov").codec == "h264"


def test_mpeg2_for_a_file_it_is_not_at_home_in(tmp_path, asked):
    source = make(tmp_path / "in.ts", "mpeg2video", "yuv420p", {"b": "3M"})
    clear_rt.remove(source, tmp_path / "out.mp4", asked)
    assert probe(tmp_path / "out.mp4").codec == "h264"
