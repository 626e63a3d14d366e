"""Numbered and raw pictures: which files a pattern means, what is refused, what is copied as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

import clear_rt
from clear_rt.config import RawPictures, ReadConfig, RegionConfig, RunConfig, WriteConfig
from clear_rt.errors import ClearError, ConfigError, InputError, OutputError
from clear_rt.frames import Edits, SegmentedWriter, Work, is_there, probe, read, same_place
from clear_rt.frames.sequence import NumberedPictures
from clear_rt.shapes import Box

FRAMES = 8
EDITED = ((2, 5),)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (FRAMES, 33, 47, 3), np.uint8)


@pytest.fixture
def pictures(tmp_path, noise):
    """Eight PNG files, numbered from 96 on, so that the number grows a digit, in a folder with a percent sign."""
    folder = tmp_path / "100% a 'b'"
    folder.mkdir()
    for number, rgb in enumerate(noise, start=96):
        Image.fromarray(rgb).save(folder / f"a-{number:02}.png", pnginfo=_said(number))
    return folder / "a-%02d.png"


def _said(number):
    info = PngImagePlugin.PngInfo()
    info.add_text("shot", f"take {number}")
    return info


def _written(source, target, edits=EDITED, config=None):
    """Every frame as it is; those of `edits` are encoded."""
    info = probe(source)
    with (
        Work(source, target, {}) as work,
        SegmentedWriter(info, target, config or WriteConfig(), work, edits=Edits(FRAMES, edits)) as writer,
    ):
        for frame in read(info):
            writer.write(frame)
    return writer


def test_a_pattern_is_all_its_pictures(pictures, noise):
    info = probe(pictures)
    assert (info.container, info.codec, info.pixel_format, info.rate) == ("image2", "png", "rgb24", 25)
    assert (info.frames_estimate, info.duration_us) == (FRAMES, FRAMES * 40_000)
    assert info.size_bytes == sum(path.stat().st_size for path in pictures.parent.iterdir())
    shown = [np.dstack([plane.samples for plane in frame.planes]) for frame in read(info)]
    np.testing.assert_array_equal(shown, noise)


def test_the_rate_is_what_was_asked_for(pictures):
    info = probe(pictures, ReadConfig(rate=Fraction(24000, 1001)))
    times_us = [frame.time_us for frame in read(info)]
    assert times_us == [round(index * 1001 / 24000 * 1e6) for index in range(FRAMES)]


def test_pictures_without_an_edit_are_the_same_files(pictures, tmp_path, noise):
    target = tmp_path / "made" / pictures.name
    writer = _written(pictures, target)
    assert (writer.frames_copied, writer.encoder) == (5, "png")
    for index, number in enumerate(range(96, 104)):
        was, now = (NumberedPictures(path).path_of(number) for path in (pictures, target))
        np.testing.assert_array_equal(np.asarray(Image.open(now)), noise[index])
        assert (was.read_bytes() == now.read_bytes()) == (not 2 <= index < 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([pictures.parent.name, "made"])


def test_a_colour_profile_stays(tmp_path, noise):
    """Of the pictures that are encoded again, too."""
    folder, profile = tmp_path / "in", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    folder.mkdir()
    for number, rgb in enumerate(noise):
        Image.fromarray(rgb).save(folder / f"{number}.png", icc_profile=profile)
    _written(folder / "%d.png", tmp_path / "out" / "%d.png")
    found = [Image.open(tmp_path / "out" / f"{number}.png").info.get("icc_profile") for number in range(FRAMES)]
    assert found == [profile] * FRAMES


def test_jpeg_is_copied_or_encoded_finely(tmp_path):
    """40 dB and more: what is not edited in an edited picture loses next to nothing."""
    folder = tmp_path / "in"
    folder.mkdir()
    y, x = np.mgrid[:48, :64]
    smooth = np.dstack([128 + 60 * np.sin(x / 9), 128 + 60 * np.cos(y / 7), 128 + 40 * np.sin((x + y) / 11)])
    for number in range(FRAMES):
        Image.fromarray((smooth + number).astype(np.uint8)).save(folder / f"{number}.jpg", quality=95)
    _written(folder / "%d.jpg", tmp_path / "out" / "%d.jpg")
    for number in range(FRAMES):
        was, now = folder / f"{number}.jpg", tmp_path / "out" / f"{number}.jpg"
        if 2 <= number < 5:
            error = np.asarray(Image.open(was), np.float64) - np.asarray(Image.open(now))
            assert np.square(error).mean() < 255**2 / 10**4.0
        else:
            assert was.read_bytes() == now.read_bytes()


@pytest.mark.parametrize("changed", [(), ((0, FRAMES),), ((0, 3), (1, 2)), ((6, 40),), ((5, 7), (0, 1))])
def test_whatever_is_edited_all_pictures_come_out(pictures, tmp_path, noise, changed):
    target = tmp_path / "out" / pictures.name
    writer = _written(pictures, target, changed)
    edited = {index for start, stop in changed for index in range(start, min(stop, FRAMES))}
    assert writer.frames_copied == FRAMES - len(edited)
    numbers = NumberedPictures(target).numbers
    assert numbers == tuple(range(96, 104))
    shown = [np.asarray(Image.open(NumberedPictures(target).path_of(number))) for number in numbers]
    np.testing.assert_array_equal(shown, noise)


def test_a_missing_picture_is_named(pictures):
    (pictures.parent / "a-99.png").unlink()
    with pytest.raises(InputError, match=r"expected .*a-99\.png between 98 and 100, but nothing is there"):
        probe(pictures)


def test_names_that_are_none_of_the_pattern(pictures):
    for name in ("a-0096.png", "a-96.png.bak", "a-9.png", "b-96.png", "a-96 copy.png"):
        (pictures.parent / name).write_bytes(b"none")
    assert NumberedPictures(pictures).numbers == tuple(range(96, 104))


@pytest.mark.parametrize("name", ["none/%d.png", "%d.png"])
def test_no_picture_at_all(tmp_path, name):
    with pytest.raises(InputError, match="expected pictures named"):
        probe(tmp_path / name)


def test_a_file_may_be_called_like_a_pattern(tmp_path, noise):
    with av.open(str(tmp_path / "plain.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 47, 33, "bgr0"
        for rgb in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        container.mux(stream.encode(None))
    path = (tmp_path / "plain.mkv").rename(tmp_path / "100%d.mkv")
    assert len(list(read(path))) == FRAMES


def test_a_damaged_picture_in_the_middle(pictures, tmp_path):
    path = pictures.parent / "a-99.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="is damaged: decoding stopped after frame 3"):
        clear_rt.remove(pictures, tmp_path / "out" / "%d.png", _everywhere())
    assert not (tmp_path / "out").exists()


def test_a_picture_of_another_size(pictures, tmp_path):
    Image.new("RGB", (48, 33)).save(pictures.parent / "a-99.png")
    with pytest.raises(InputError, match="changes from 47x33 rgb24 to 48x33 rgb24 at frame 3"):
        clear_rt.remove(pictures, tmp_path / "out" / "%d.png", _everywhere())
    assert not (tmp_path / "out").exists()


def _everywhere():
    return RunConfig(region=RegionConfig(mode="fixed", boxes=(Box(0, 0, 40, 30),)))


def test_a_folder_of_its_own(pictures, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    assert not is_there(other / "%d.png")
    _written(pictures, other / "%d.png")
    assert is_there(other / "%d.png")
    before = {path.name: path.stat().st_mtime_ns for path in other.iterdir()}
    for target in (other / "%d.png", pictures.parent / "made-%d.png"):
        with pytest.raises(OutputError, match="expected a folder that holds nothing but the pictures"):
            _written(pictures, target)
    assert {path.name: path.stat().st_mtime_ns for path in other.iterdir()} == before
    with pytest.raises(OutputError, match="but it does not exist"):
        _written(pictures, tmp_path / "no" / "such" / "%d.png")


def test_nothing_else_is_written_into_their_folder(tmp_path):
    """It could not be put in place then."""
    target = tmp_path / "out" / "%d.png"
    for other in (tmp_path / "out" / "preview.png", tmp_path / "out" / "a" / "b.mp4", tmp_path / "out" / "x%d.png"):
        assert same_place(target, other)
        assert same_place(other, target)
    for other in (tmp_path / "preview.png", tmp_path / "out2" / "%d.png", tmp_path / "out.mp4"):
        assert not same_place(target, other)
        assert not same_place(other, target)


def test_one_name_is_no_pattern(pictures, tmp_path):
    with pytest.raises(OutputError, match=r"a pattern such as out/%05d\.png, but got 'one\.png'"):
        _written(pictures, tmp_path / "one.png")


def test_a_failure_leaves_nothing(pictures, tmp_path, monkeypatch):
    """The disk fails at the last picture: neither the folder nor anything hidden beside it is there."""
    target = tmp_path / "out" / "%d.png"
    monkeypatch.setattr(os, "fsync", _full_disk)
    with pytest.raises(OutputError, match="the disk is full"):
        _written(pictures, target, edits=())
    assert not target.parent.exists()
    assert [path.name for path in tmp_path.iterdir()] == [pictures.parent.name]


def _full_disk(handle):
    import errno

    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_KILLED = """
import os, signal, sys
from clear_rt.config import WriteConfig
from clear_rt.frames import Edits, SegmentedWriter, Work, probe, read
source, target = sys.argv[1:]
info = probe(source)
with Work(info.path, target, {}) as work, SegmentedWriter(
    info, target, WriteConfig(), work, edits=Edits(8, ((2, 8),)), segment_frames=2
) as writer:
    for frame in read(info):
        if frame.index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        writer.write(frame)
"""


def test_what_was_killed_goes_on(pictures, tmp_path, noise):
    target = tmp_path / "out" / pictures.name
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(pictures), str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not target.parent.exists()
    info = probe(pictures)
    with (
        Work(pictures, target, {}) as work,
        SegmentedWriter(
            info, target, WriteConfig(), work, edits=Edits(FRAMES, ((2, FRAMES),)), segment_frames=2
        ) as writer,
    ):
        assert writer.finished_frames == 4
        for frame in read(info):
            writer.write(frame)
    assert writer.frames_resumed == 2
    shown = [np.asarray(Image.open(NumberedPictures(target).path_of(number))) for number in range(96, 104)]
    np.testing.assert_array_equal(shown, noise)


def test_raw_pictures_say_nothing_themselves(tmp_path):
    path, rng = tmp_path / "in.yuv", np.random.default_rng(0)
    samples = rng.integers(0, 1024, (3, 47 * 33 + 2 * 24 * 33), np.uint16)
    path.write_bytes(samples.astype("<u2").tobytes())
    with pytest.raises(ConfigError, match="give --raw, such as 1920x1080:yuv420p"):
        probe(path)
    info = probe(path, ReadConfig(raw=RawPictures(47, 33, "yuv422p10le"), rate=Fraction(30)))
    assert (info.width_px, info.height_px, info.bit_depth, info.rate) == (47, 33, 10, 30)
    found = [np.concatenate([plane.samples.ravel() for plane in frame.planes]) for frame in read(info)]
    np.testing.assert_array_equal(found, samples)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (RawPictures(47, 32, "yuv422p10le"), "no whole number of pictures"),
        (RawPictures(47, 33, "pal8"), "pixel format 'pal8' is not supported"),
        (RawPictures(47, 33, "none"), "pixel format 'none' is not supported"),
    ],
)
def test_what_raw_pictures_cannot_be(tmp_path, raw, sentence):
    path = tmp_path / "in.yuv"
    path.write_bytes(bytes(2 * (47 * 33 + 2 * 24 * 33)))
    with pytest.raises(ClearError, match=sentence):
        probe(path, ReadConfig(raw=raw))


def test_a_rate_for_a_file_that_has_one(tmp_path, noise):
    path = tmp_path / "in.y4m"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 46, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(46, 32, "yuv420p")))
    with pytest.raises(ConfigError, match="--rate is for raw and for numbered pictures"):
        probe(path, ReadConfig(rate=Fraction(24)))
