"""The preview shows what happened: source, map and result of the frames that were changed."""

from __future__ import annotations

import av
import numpy as np

from clear_rt.glance import glance
from clear_rt.preview import GAP_PX, ROWS, Preview
from clear_rt.remover import Remover
from clear_rt.second_pass import Cleaned
from clear_rt.watched import Watched
from clear_rt.watching import watching


class Flat:
    """A frame of one grey level."""

    def __init__(self, level: int) -> None:
        self.level = level

    def rgb(self, height_px: int, width_px: int) -> np.ndarray:
        return np.full((height_px, width_px, 3), self.level, np.uint8)


def _cleaned(level: int, changed: bool = True) -> Cleaned:
    source = Flat(level)
    occlusion = np.zeros((20, 30), np.uint8)
    occlusion[5:10, 5:10] = 255
    return Cleaned(source, Flat(level + 1) if changed else source, occlusion, occlusion, ())


def test_a_row_is_source_map_and_result():
    preview = Preview()
    preview(_cleaned(90))
    page = preview.page()
    assert page.shape == (20, 3 * 30 + 2 * GAP_PX, 3)
    source, shown, result = page[:, :30], page[:, 30 + GAP_PX : 60 + GAP_PX], page[:, 60 + 2 * GAP_PX :]
    assert (source == 90).all()
    assert (result == 91).all()
    assert (shown[5:10, 5:10, 0] == 255).all()
    assert (shown[12:] == 30).all()


def test_frames_that_were_not_changed_are_not_shown():
    preview = Preview()
    for _ in range(50):
        preview(_cleaned(10, changed=False))
    assert preview.page() is None


def test_rows_are_bounded_and_spread_over_the_run():
    preview = Preview()
    for i in range(2000):
        preview(_cleaned(i // 10))
    page = preview.page()
    levels = page[:: 20 + GAP_PX, 0, 0]
    assert len(levels) <= ROWS
    assert levels[0] < 20
    assert levels[-1] > 100
    assert (np.diff(levels.astype(int)) > 0).all()


def test_both_files_show_the_run(subtitled, tmp_path):
    target, page, beside = tmp_path / "out.mp4", tmp_path / "page.png", tmp_path / "beside.mp4"
    with watching(subtitled, target, Watched(page, beside), 360) as watched:
        report = Remover()(subtitled, target, observe=watched.observe)
        assert not page.exists()
        assert not beside.exists()
    with av.open(str(beside)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == report.frames
    left, right = np.hsplit(pictures[30].astype(int), 2)
    difference = np.abs(left - right).max(axis=2)
    assert difference[270:].max() > 100
    assert np.median(difference) < 8
    with av.open(str(page)) as container:
        (picture,) = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
    assert picture.shape[1] == 3 * left.shape[1] + 2 * GAP_PX
    assert picture[: left.shape[0], : left.shape[1]].std() > 20


def test_what_was_outlined_in_more_pixels_is_shown_in_fewer():
    occlusion = np.zeros((720, 1280), np.uint8)
    occlusion[401, 801] = 200
    source = Flat(90)
    seen = glance(Cleaned(source, Flat(91), occlusion, 255 - occlusion, ()))
    assert {part.shape[:2] for part in seen} == {(360, 640)}
    assert np.argwhere(seen.occlusion).tolist() == [[200, 400]]
    assert seen.occlusion[200, 400] == 200
    assert (seen.matte == 255).all()
