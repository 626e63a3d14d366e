"""Frames and arrays without files, and a look before anything is written: the same as `remove`, bit for bit."""

from __future__ import annotations

import threading
from contextlib import closing
from itertools import islice

import av
import numpy as np
import pytest

import clear_rt
from clear_rt import frames
from clear_rt.cli import main
from clear_rt.config import RunConfig, WriteConfig
from clear_rt.errors import InputError
from tests.test_scan import COUNT, LINE, RATE, SIZE_PX, draw, write


@pytest.fixture
def video(tmp_path):
    return write(tmp_path / "in.mkv", lambda index: [LINE] if 10 <= index < 50 else [])


def pictures_of(total, *, size_px=SIZE_PX):
    rows, columns = np.mgrid[0 : size_px[1], 0 : size_px[0]]
    for index in range(total):
        picture = np.stack([60 + columns // 8 + index % 3, 90 + rows // 6, 120 + (rows + columns) // 16], axis=2)
        picture = picture.astype(np.uint8)
        if 5 <= index < total - 5:
            draw(picture, LINE)
        yield picture


def test_frames_are_those_that_remove_writes(video, tmp_path):
    report = clear_rt.remove(video, tmp_path / "out.mkv", RunConfig(write=WriteConfig(lossless=True)))
    found = list(clear_rt.clean_frames(video))
    assert [frame.index for frame in found] == list(range(COUNT))
    assert [frame.time_us for frame in found] == [index * 1_000_000 // RATE for index in range(COUNT)]
    assert sum(frame.is_changed for frame in found) == report.frames_changed > 30
    for mine, written in zip(found, frames.read(tmp_path / "out.mkv"), strict=True):
        for a, b in zip(mine.planes, written.planes, strict=True):
            np.testing.assert_array_equal(a.samples, b.samples)
        assert mine.rgb().shape == (*SIZE_PX[::-1], 3)
        assert mine.is_changed == bool(mine.matte.any())


def test_stopping_early_ends_every_thread(video):
    with closing(clear_rt.clean_frames(video)) as found:
        assert len(list(islice(found, 15))) == 15
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]


def test_arrays_come_back_with_every_bit_that_is_no_text():
    given = list(pictures_of(40))
    found = list(clear_rt.clean_arrays(iter(given), rate=RATE))
    assert len(found) == len(given)
    differs = np.stack([(a != b).any(axis=2) for a, b in zip(given, found, strict=True)])
    assert all(picture.dtype == np.uint8 and picture.shape == given[0].shape for picture in found)
    # Subtitles are replaced, and what is further away than matte and growth reach is not touched.
    assert differs[10:30, *LINE.slices].any(axis=(1, 2)).all()
    assert not differs[:, : LINE.y_px - 24].any()
    assert not differs[[0, -1]].any()
    plain = list(pictures_of(40))[20]
    draw(plain, LINE)
    shown = np.abs(found[20].astype(int) - plain)[LINE.slices].max()
    assert shown > 60


@pytest.mark.parametrize("size_px", [(321, 181), (64, 48)])
def test_arrays_of_odd_and_small_sizes(size_px):
    given = [np.random.default_rng(i).integers(0, 256, (*size_px[::-1], 3), np.uint8) for i in range(3)]
    found = list(clear_rt.clean_arrays(given))
    assert [picture.shape for picture in found] == [picture.shape for picture in given]


@pytest.mark.parametrize(
    "given",
    [
        [],
        [np.zeros((8, 8), np.uint8)],
        [np.zeros((8, 8, 4), np.uint8)],
        [np.zeros((8, 8, 3), np.float32)],
        [np.zeros((16, 16, 3), np.uint8), np.zeros((16, 18, 3), np.uint8)],
    ],
)
def test_what_are_no_pictures_is_refused(given):
    with pytest.raises(InputError, match=r"expected pictures uint8 \[H, W, 3\]"):
        list(clear_rt.clean_arrays(given))


def test_a_review_shows_both_and_writes_no_result(video, tmp_path, capsys):
    review = tmp_path / "review.mp4"
    assert main(["remove", str(video), "--review", str(review)]) == 0
    assert "frames would change" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "review.mp4"]
    with av.open(str(review)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == COUNT
    left, right = np.hsplit(shown[30].astype(int), 2)
    assert np.abs(left - right)[LINE.slices].max() > 100
    assert main(["remove", str(video), "--review", str(review), "-o", str(tmp_path / "x.mkv")]) == 2


def test_a_page_says_what_was_done(video, tmp_path, capsys):
    page, out = tmp_path / "page.html", tmp_path / "out.mkv"
    assert main(["remove", str(video), "-o", str(out), "--report", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") % 3 == 0
    assert text.count('class="text"') == 1
    for word in ("in.mkv", "frame 10, before", "encoded again by", "<svg", "0:02.4"):
        assert word in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert main(["remove", str(video), "-o", str(out), "--report", str(tmp_path / "page.pdf")]) == 4
    assert "--report must end in .html" in capsys.readouterr().err
