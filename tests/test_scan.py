"""Where and when text is taken out, as the user draws it: boxes, times, what is kept, a mask of his own."""

from __future__ import annotations

import csv
import io
import json

import av
import numpy as np
import pytest

import clear_rt
from clear_rt import frames
from clear_rt.bundle import open_bundle
from clear_rt.cli import main
from clear_rt.config import RegionConfig, RunConfig, TimeSpan, WriteConfig
from clear_rt.detection import detect
from clear_rt.errors import InputError
from clear_rt.prior import Prior
from clear_rt.report import Stopwatch
from clear_rt.runtime.onnx import OnnxEngine
from clear_rt.scan import scan
from clear_rt.shapes import Box, working_size

SIZE_PX, RATE, COUNT = (640, 360), 25, 60
LINE, LOGO = Box(180, 300, 280, 30), Box(20, 10, 90, 40)


def draw(picture, box):
    """Strokes like letters, white with black edges."""
    for x in range(box.x_px + 4, box.right_px - 12, 16):
        picture[box.y_px + 4 : box.bottom_px - 4, x - 2 : x + 6] = 0
        picture[box.y_px + 6 : box.bottom_px - 6, x : x + 4] = 255


def write(path, boxes_at):
    """A scene of slow gradients with strokes in the boxes that `boxes_at(frame)` names, lossless."""
    rows, columns = np.mgrid[0 : SIZE_PX[1], 0 : SIZE_PX[0]]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE_PX, "yuv420p"
        for index in range(COUNT):
            picture = np.stack([60 + columns // 8 + index % 3, 90 + rows // 6, 120 + (rows + columns) // 16], axis=2)
            picture = picture.astype(np.uint8)
            for box in boxes_at(index):
                draw(picture, box)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


def mask_of(path, boxes_at, count=COUNT):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE_PX, "gray"
        for index in range(count):
            picture = np.zeros(SIZE_PX[::-1], np.uint8)
            for box in boxes_at(index):
                picture[box.slices] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "gray")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


@pytest.fixture(scope="module")
def prior():
    bundle = open_bundle()
    return Prior(OnnxEngine(bundle), bundle.prior.multiple_px)


@pytest.fixture
def video(tmp_path):
    return write(tmp_path / "in.mkv", lambda index: [LINE, LOGO])


def looked(video, prior, **options):
    info = frames.probe(video)
    return scan(info, prior, working_size(*SIZE_PX), RegionConfig(**options), Stopwatch(), lambda *told: None)


def changed(before, after):
    """Luma samples that differ, [T, H, W]."""
    return np.stack([a != b for a, b in zip(luma(before), luma(after), strict=True)])


def luma(path):
    return [frame.planes[0].samples.copy() for frame in frames.read(path)]


def removed(video, tmp_path, **options):
    config = RunConfig(region=RegionConfig(**options), write=WriteConfig(lossless=True))
    report = clear_rt.remove(video, tmp_path / "out.mkv", config)
    return report, changed(video, tmp_path / "out.mkv")


def test_each_box_is_a_run_of_its_own(video, prior):
    below, above = Box(100, 280, 440, 70), Box(0, 0, 200, 70)
    found = looked(video, prior, mode="fixed", boxes=(below, above))
    assert {run.box for run in found.runs} == {below, above}
    assert looked(video, prior, mode="fixed", boxes=(Box(300, 100, 100, 100),)).runs == ()


def test_nothing_changes_outside_of_the_times(video, tmp_path):
    spans = (TimeSpan(400_000, 800_000), TimeSpan(1_600_000))
    report, differs = removed(video, tmp_path, times=spans)
    touched = [index for index in range(COUNT) if differs[index].any()]
    assert touched == [*range(10, 20), *range(40, COUNT)]
    assert report.frames_changed == len(touched)


def test_what_is_kept_keeps_every_bit(video, tmp_path):
    keep = Box(10, 0, 120, 60)
    report, differs = removed(video, tmp_path, keep=(keep,))
    assert not differs[:, *keep.slices].any()
    assert differs[:, *LINE.slices].any(axis=(1, 2)).all()
    assert report.frames_changed == COUNT


def test_a_mask_overrides_what_the_prior_would_see(video, tmp_path):
    """Where nothing is to be seen, in a few frames, and a speck; the true text is left alone."""
    speck, patch = Box(500, 100, 4, 4), Box(300, 150, 60, 20)

    def there(index):
        return [speck, patch] if 20 <= index < 35 else []

    mask = mask_of(tmp_path / "mask.mkv", there)
    _, differs = removed(video, tmp_path, mask=mask)
    assert [index for index in range(COUNT) if differs[index].any()] == list(range(20, 35))
    assert not differs[:, *LINE.slices].any()
    for box in (speck, patch):
        near = Box(box.x_px - 16, box.y_px - 16, box.width_px + 32, box.height_px + 32)
        assert differs[20:35, *near.slices].any()
        differs[:, *near.slices] = False
    assert not differs.any()


def test_a_picture_is_a_mask_of_all_frames(video, tmp_path):
    picture = np.zeros((*SIZE_PX[::-1], 3), np.uint8)
    picture[LINE.slices] = 255
    frames.write_png(tmp_path / "mask.png", picture)
    report, differs = removed(video, tmp_path, mask=tmp_path / "mask.png")
    assert report.frames_changed == COUNT
    assert not differs[:, :280].any()


def test_a_mask_that_ends_early_is_refused(video, tmp_path):
    mask = mask_of(tmp_path / "mask.mkv", lambda index: [LINE], count=COUNT - 1)
    config = RunConfig(region=RegionConfig(mask=mask))
    with pytest.raises(InputError, match=f"ends after {COUNT - 1} frames"):
        clear_rt.remove(video, tmp_path / "out.mkv", config)
    assert not (tmp_path / "out.mkv").exists()


def test_times_of_runs_are_those_of_their_frames(tmp_path, prior):
    video = write(tmp_path / "in.mkv", lambda index: [LINE] if 20 <= index < 40 else [])
    found = looked(video, prior)
    (run,) = found.runs
    ((start_us, stop_us),) = found.intervals_us
    assert start_us == run.start_frame * 40_000
    assert stop_us == run.stop_frame * 40_000
    # Scans are 0.2 s apart.
    assert 15 <= run.start_frame <= 20
    assert 40 <= run.stop_frame <= 46
    assert (found.frames, found.end_us) == (COUNT, COUNT * 40_000)


def test_detect_prints_what_a_removal_would_take_out(tmp_path, capsys):
    video = write(tmp_path / "in.mkv", lambda index: [LINE] if 20 <= index < 40 else [])
    (text,) = detect(video).texts
    printed = {}
    for form in ("json", "csv", "srt"):
        assert main(["detect", str(video), "--format", form]) == 0
        printed[form] = capsys.readouterr().out
    found = json.loads(printed["json"])
    assert (found["frames"], found["width_px"], found["duration_s"]) == (COUNT, 640, COUNT / RATE)
    (row,) = csv.DictReader(io.StringIO(printed["csv"]))
    for name, value in found["texts"][0].items():
        assert float(row[name]) == value
    assert found["texts"][0]["start_s"] == text.start_us / 1e6
    number, times, caption = printed["srt"].splitlines()
    assert number == "1"
    assert times == f"00:00:00,{text.start_us // 1000:03d} --> 00:00:01,{text.stop_us // 1000 - 1000:03d}"
    assert caption.startswith("text at ")
    report = clear_rt.remove(video, tmp_path / "out.mkv")
    assert [(run.start_frame, run.stop_frame, run.box) for run in report.runs] == [
        (text.start_frame, text.stop_frame, text.box)
    ]
