"""Which frames a sheet shows, which columns it has, and that its pictures are those of the frames."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("PIL", reason="labels are drawn by Pillow: pip install '.[eval]'")

from clear_rt.metrics.page import GAP_PX, LABEL_PX, TITLE_PX, Row, error_picture, page
from clear_rt.metrics.sheet import COLUMN_PX, MARGIN_PX, ROWS, Sheet
from clear_rt.metrics.videos import Together

HEIGHT_PX, WIDTH_PX = 90, 160


def frame(index, inside=None, roles=("result", "clean", "source"), size=(HEIGHT_PX, WIDTH_PX)):
    """All of one level that tells the index; the mask is `inside` rows high, None for no mask."""
    mask = None
    if inside is not None:
        mask = np.zeros(size, bool)
        mask[40 : 40 + inside, 50:90] = True
    rgb = {name: np.full((*size, 3), (index + 50 * place) % 256, np.uint8) for place, name in enumerate(roles)}
    return Together({"result": SimpleNamespace(index=index, time_us=40_000 * index)}, rgb, mask)


def shown(sheet):
    """Frames by the level of their result."""
    return [int(shot.pictures["result"][0, 0, 0]) for shot in sheet._shots]


@pytest.mark.parametrize("count", [1, 3, 10, 11, 57, 200])
def test_frames_are_spread_and_few_are_held(count):
    sheet = Sheet()
    for index in range(count):
        sheet.add(frame(index, 3))
        assert len(sheet._shots) <= 2 * ROWS
    found = shown(sheet)
    assert found == sorted(found)
    span = sheet._span_frames
    assert [index // span for index in found] == list(range(-(-count // span)))
    assert len(found) >= min(count, ROWS)


def test_of_every_span_the_frame_with_most_mask_is_kept():
    sheet, most = Sheet(), {7, 20, 45, 61, 79}
    for index in range(80):
        sheet.add(frame(index, 9 if index in most else 2))
    assert set(shown(sheet)) >= most
    assert len(shown(sheet)) == 10


def test_frames_without_text_are_shown_only_where_no_other_is():
    sheet, plain = Sheet(), Sheet()
    for index in range(8):
        sheet.add(frame(index, 4 * (index in (2, 5))))
        plain.add(frame(index, 0))
    # Six times 4 rows with their margins of 24 are 312, seven times would be more than 360.
    assert sheet.page().shape[0] == TITLE_PX + 2 * (6 * (4 + 2 * MARGIN_PX) + LABEL_PX + GAP_PX)
    assert plain.page().shape[0] == TITLE_PX + ROWS * (4 * HEIGHT_PX + LABEL_PX + GAP_PX)


@pytest.mark.parametrize(
    ("roles", "inside", "columns"),
    [
        (("result", "clean", "source"), 5, 5),
        (("result", "clean"), 5, 4),
        (("result", "source"), 5, 3),
        (("result", "clean"), None, 3),
    ],
)
def test_columns_without_data_are_left_out(roles, inside, columns):
    sheet = Sheet()
    sheet.add(frame(60, inside, roles))
    drawn = sheet.page()
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] >= columns * (COLUMN_PX // 2)
    assert drawn.shape[1] < (columns + 1) * (COLUMN_PX + GAP_PX)
    # Every picture's own level is on the page in the middle of its column.
    levels = {name: 60 + 50 * place for place, name in enumerate(roles)}
    line = drawn[TITLE_PX + LABEL_PX + 4].max(axis=1)
    assert set(levels.values()) <= set(line.tolist())
    if "clean" in roles:
        assert 200 in line


def test_wide_pictures_are_shrunk_to_the_column():
    sheet = Sheet()
    sheet.add(frame(3, None, ("result", "clean"), (300, 1500)))
    assert sheet.page().shape == (TITLE_PX + LABEL_PX + 128 + GAP_PX, 3 * (COLUMN_PX + GAP_PX), 3)


def test_the_error_is_four_times_the_difference():
    a, b = np.array([[[0, 200, 10]]], np.uint8), np.array([[[255, 190, 10]]], np.uint8)
    assert error_picture(a, b).tolist() == error_picture(b, a).tolist() == [[[255, 40, 0]]]


def test_pictures_lie_where_their_row_and_column_are():
    first, second = np.full((10, 300, 3), 9, np.uint8), np.full((20, 200, 3), 99, np.uint8)
    drawn = page(("one", "two"), [Row("", [first, None]), Row("named", [second, first[:20]])])
    top = TITLE_PX + 10 + GAP_PX + LABEL_PX
    assert (drawn[TITLE_PX : TITLE_PX + 10, :300] == 9).all()
    assert (drawn[TITLE_PX : TITLE_PX + 10, 300:] == 255).all()
    assert (drawn[top : top + 20, :200] == 99).all()
    assert (drawn[top : top + 10, 300 + GAP_PX : 600 + GAP_PX] == 9).all()
    assert (drawn[:TITLE_PX] < 128).any()
    assert (drawn[top - LABEL_PX : top] < 128).any()
