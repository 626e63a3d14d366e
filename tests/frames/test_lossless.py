"""Untouched frames come back bit for bit in every pixel format we say we support."""

from dataclasses import replace

import numpy as np
import pytest

from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames import Frame, Writer, probe, read
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.scale import Scaler

FORMATS_FFV1 = [
    "yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv440p", "yuv410p", "yuva420p", "gray", "ya8", "bgr0", "bgra",
    "yuv420p9le", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv422p12le", "yuv444p12le",
    "yuv420p16le", "yuva422p10le", "gray10le", "gray12le", "gbrp10le", "gbrp12le", "gbrap12le", "rgb48le",
]  # fmt: skip
FORMATS_RAW = [
    "nv12", "nv21", "yuyv422", "uyvy422", "rgb24", "bgr24", "rgba", "argb", "abgr", "rgb0", "gbrp", "yuvj420p",
]  # fmt: skip


@pytest.mark.parametrize("pixel_format", FORMATS_FFV1)
def test_ffv1_source_comes_back(clip, tools, tmp_path, pixel_format):
    source = clip("in.mkv", pixel_format, 38, 26, frames=3)
    tools.rewrite(source, tmp_path / "out.mkv", lossless=True)
    assert tools.same_samples(tools.samples(source), tools.samples(tmp_path / "out.mkv"))
    assert probe(tmp_path / "out.mkv").bit_depth == probe(source).bit_depth


@pytest.mark.parametrize("pixel_format", FORMATS_RAW)
def test_raw_source_comes_back(clip, tools, tmp_path, pixel_format):
    source = clip("in.nut", pixel_format, 64, 48, frames=3, codec="rawvideo")
    assert probe(source).pixel_format in (pixel_format, "yuv420p")
    tools.rewrite(source, tmp_path / "out.mkv", lossless=True)
    assert tools.same_samples(tools.samples(source), tools.samples(tmp_path / "out.mkv"))


@pytest.mark.parametrize(
    "pixel_format", ["nv16", "nv24", "p010le", "p012le", "p016le", "p210le", "bgra64le", "yvyu422"]
)
def test_layouts_no_file_here_can_hold(clip, tools, tmp_path, pixel_format):
    info = replace(probe(clip(frames=1)), pixel_format=pixel_format)
    layout = pixel_layout(pixel_format)
    picture = tools.make_picture(pixel_format, 64, 48, 1)
    picture.pts, picture.time_base = 0, info.time_base
    frame = Frame(picture, 0, 0, layout, info.orientation, Scaler())
    with Writer(info, tmp_path / "out.mkv", WriteConfig(lossless=True)) as writer:
        writer.write(frame.edited())
    expected = [[plane.samples >> plane.shift for plane in frame.planes]]
    assert tools.same_samples(expected, tools.samples(tmp_path / "out.mkv"))


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size", "container"),
    [
        ("libx264", "yuv420p", (64, 48), "mp4"),
        ("libx264", "yuvj420p", (64, 48), "mp4"),
        ("libx264", "yuv422p", (64, 48), "mov"),
        ("libx264", "yuv444p", (37, 53), "mp4"),
        ("libx264", "yuv420p10le", (64, 48), "mp4"),
        ("libx264", "yuv420p", (16, 16), "mp4"),
        ("libx264", "yuv420p", (64, 48), "ts"),
        ("libx264", "yuv420p", (64, 48), "avi"),
        ("libx265", "yuv420p", (64, 48), "mp4"),
        ("libx265", "yuv420p10le", (64, 48), "mkv"),
        ("libx265", "yuv422p12le", (64, 48), "mp4"),
        ("libx265", "gray", (64, 48), "mp4"),
        ("libx265", "gbrp", (64, 48), "mp4"),
        ("libvpx-vp9", "yuv420p", (53, 37), "webm"),
        ("libvpx-vp9", "yuv440p", (64, 48), "mkv"),
        ("libsvtav1", "yuv420p", (64, 64), "mp4"),
        ("libsvtav1", "yuv420p10le", (66, 64), "mkv"),
        ("mpeg4", "yuv420p", (53, 37), "avi"),
        ("mpeg4", "yuv420p", (53, 37), "mp4"),
    ],
)
def test_each_codec_lossless_in_its_container(clip, tools, tmp_path, codec, pixel_format, size, container):
    quiet = {"libx265": {"x265-params": "log-level=none"}}.get(codec, {})
    source = clip(f"in.{container}", pixel_format, *size, frames=4, codec=codec, options=quiet)
    target = tmp_path / f"out.{container}"
    tools.rewrite(source, target, lossless=True)
    assert tools.same_samples(tools.samples(source), tools.samples(target))
    before, after = probe(source), probe(target)
    assert (after.pixel_format, after.stored_width_px, after.stored_height_px) == (before.pixel_format, *size)
    # Of what is not encoded without loss, or not given back, another codec is made: see `loses` and `_NOT_GIVEN_BACK`.
    changes = codec == "mpeg4" or pixel_format == "yuv440p" or (codec == "libsvtav1" and before.bit_depth > 8)
    assert (after.codec != before.codec) == changes


def test_container_without_a_lossless_codec_names_one_that_has(clip, tmp_path):
    source = clip("in.mkv", "yuv411p")
    with (
        pytest.raises(OutputError, match=r"\.mkv"),
        Writer(probe(source), tmp_path / "out.webm", WriteConfig(lossless=True)),
    ):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_editing_leaves_the_decoder_alone(clip, tools, tmp_path):
    source = clip("in.mp4", "yuv420p", 64, 48, frames=20, codec="libx264", options={"bf": "3", "refs": "4"})
    expected = tools.samples(source)

    def blacken(frame):
        edited = frame.edited()
        for plane in edited.planes:
            plane.samples[...] = 0
        for mine, its in zip(frame.planes, expected[frame.index], strict=True):
            assert np.array_equal(mine.samples, its)
        return edited

    tools.rewrite(source, tmp_path / "out.mp4", edit=blacken, lossless=True)
    assert all(not plane.any() for frame in tools.samples(tmp_path / "out.mp4") for plane in frame)


def test_planes_of_a_decoded_frame_cannot_be_written(clip):
    frame = next(read(clip()))
    with pytest.raises(ValueError, match="read-only"):
        frame.planes[0].samples[0, 0] = 1


def test_an_edit_touches_only_its_samples(clip, tools, tmp_path):
    source = clip("in.mkv", "yuv422p10le", 64, 48, frames=3)
    expected = tools.samples(source)
    for planes in expected:
        planes[0][3:7, 5:9] = 700

    def paint(frame):
        edited = frame.edited()
        edited.planes[0].samples[3:7, 5:9] = 700
        return edited

    tools.rewrite(source, tmp_path / "out.mkv", edit=paint, lossless=True)
    assert tools.same_samples(expected, tools.samples(tmp_path / "out.mkv"))


def test_lossy_is_close_and_smaller(clip, tools, tmp_path):
    source = clip("in.mkv", "yuv420p", 128, 96, frames=6)
    tools.rewrite(source, tmp_path / "out.mp4", crf=23)
    for before, after in zip(tools.samples(source), tools.samples(tmp_path / "out.mp4"), strict=True):
        error = np.abs(before[0].astype(int) - after[0]).mean()
        assert error < 10
    assert (tmp_path / "out.mp4").stat().st_size < source.stat().st_size
