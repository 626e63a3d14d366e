"""A video with a logo beside its captions: the captions go, every sample of the logo stays; with --text all both go."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

import clear_rt
from clear_rt import frames
from clear_rt.cli import main
from clear_rt.config import RunConfig, WriteConfig
from clear_rt.prose import summary
from clear_rt.report import Report, Sign
from clear_rt.shapes import Box
from tests.test_scan import luma

SIZE_PX, RATE, SECONDS = (320, 180), 3, 14
# So near to each other that the logo lies in the region of the captions.
LINE, LOGO = Box(34, 152, 212, 16), Box(262, 148, 44, 18)
# Where letters of the logo are: of random widths, they do not fill its box.
INK = Box(264, 150, 30, 15)
HOLD = 8
REPORT = Report(
    source=Path("in.mkv"),
    target=Path("out.mkv"),
    frames=100,
    frames_changed=50,
    video_copied=False,
    runs=(),
    bundle="clear-tiny",
    engine="onnx",
    fill="membrane",
    composite="membrane",
    encoder="ffv1",
    dropped_streams=(),
    seconds=1.0,
    stage_seconds={},
)


def letters(picture: np.ndarray, box: Box, seed: int) -> None:
    """White strokes with black edges, of random heights and at random places of a box."""
    rng = np.random.default_rng(seed)
    x = box.x_px + 2
    while x < box.right_px - 5:
        top = box.y_px + 2 + int(rng.integers(0, 5))
        picture[top - 1 : box.bottom_px - 1, x - 1 : x + 3] = 0
        picture[top : box.bottom_px - 2, x : x + 2] = 255
        if rng.random() < 0.5:
            picture[top - 1 : top + 3, x - 1 : x + 7] = 0
            picture[top : top + 2, x : x + 6] = 255
        x += int(rng.integers(5, 12))


def write(path, count: int):
    """Gradients that wander, a logo all the time, and a caption of 2.7 s after another without a gap; lossless."""
    rows, columns = np.mgrid[0 : SIZE_PX[1], 0 : SIZE_PX[0]]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE_PX, "yuv420p"
        for index in range(count):
            wave = 20 * np.sin((columns + 4 * index) / 30)
            picture = np.stack([70 + columns // 8 + wave, 90 + rows // 6 + wave, 110 + (rows + columns) // 16], axis=2)
            picture = picture.astype(np.uint8)
            letters(picture, LINE, 1 + index // HOLD)
            letters(picture, LOGO, 100)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write(tmp_path_factory.mktemp("signs") / "in.mkv", RATE * SECONDS)


def left_of_the_letters(samples: list[np.ndarray], box: Box) -> float:
    """Share of a box's samples that are as bright as only letters are, over all frames."""
    return float(np.mean([(picture[box.slices] > 190).mean() for picture in samples]))


def all_planes(path, box: Box) -> list[np.ndarray]:
    half = Box(box.x_px // 2, box.y_px // 2, box.width_px // 2, box.height_px // 2)
    return [
        plane.samples[(box if number == 0 else half).slices].copy()
        for frame in frames.read(path)
        for number, plane in enumerate(frame.planes)
    ]


def test_captions_go_and_every_sample_of_the_logo_stays(video, tmp_path, capsys):
    target = tmp_path / "out.mkv"
    assert main(["remove", str(video), "-o", str(target), "--lossless", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (sign,) = report["signs"]
    found = Box(**sign["box"])
    assert found.union(INK) == found
    assert not found.intersects(LINE)
    (run,) = report["runs"]
    assert Box(**run["box"]).intersects(LOGO)
    assert Box(**run["box"]).right_px < LOGO.right_px
    assert sign["start_us"] == 0
    # Matroska rounds times to milliseconds; the end is as far from the last frame as that from the one before.
    assert abs(sign["stop_us"] - SECONDS * 1_000_000) <= 2_000
    assert report["frames_changed"] == report["frames"] == RATE * SECONDS
    for before, after in zip(all_planes(video, LOGO), all_planes(target, LOGO), strict=True):
        assert np.array_equal(before, after)
    assert left_of_the_letters(luma(video), LINE) > 0.1
    assert left_of_the_letters(luma(target), LINE) < 0.002


def test_with_all_text_the_logo_goes_too(video, capsys):
    assert main(["detect", str(video), "--text", "all"]) == 0
    (text,) = json.loads(capsys.readouterr().out)["texts"]
    box = Box(text["x_px"], text["y_px"], text["width_px"], text["height_px"])
    assert box.union(LINE).union(LOGO) == box


def test_of_a_short_video_all_goes_as_ever(tmp_path):
    video = write(tmp_path / "in.mkv", RATE * 4)
    report = clear_rt.remove(video, tmp_path / "out.mkv", RunConfig(write=WriteConfig(lossless=True)))
    assert report.signs == ()
    assert "left alone" not in summary(report)
    for box in (LINE, LOGO):
        assert left_of_the_letters(luma(video), box) > 0.1
        assert left_of_the_letters(luma(tmp_path / "out.mkv"), box) < 0.002


def test_what_was_left_alone_is_told():
    signs = tuple(Sign(start, start + 13_000_000, box) for start, box in ((0, LOGO), (9, LOGO), (40, LINE)))
    told = [summary(replace(REPORT, signs=signs[:count], video_copied=count == 2)) for count in range(4)]
    assert "left alone" not in told[0]
    assert "; 1 sign left alone, --text all removes it, too; " in told[1]
    assert "; 1 sign left alone, --text all removes it, too; " in told[2]
    assert "; 2 signs left alone, --text all removes them, too; " in told[3]
    assert json.loads(json.dumps(replace(REPORT, signs=signs).as_dict()))["signs"][2] == {
        "start_us": 40,
        "stop_us": 13_000_040,
        "box": {"x_px": 34, "y_px": 152, "width_px": 212, "height_px": 16},
    }
