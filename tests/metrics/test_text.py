"""The detector finds what was drawn, in all six scripts, and nothing where nothing is."""

import numpy as np
import pytest

from clear_rt.burn.fonts import faces_for
from clear_rt.burn.render import blend, render
from clear_rt.burn.scripts import SCRIPTS
from clear_rt.burn.styles import Style
from clear_rt.metrics.text import TextFinder, TextShare

LINES = {
    "zh": "今天的天气真好", "en": "Where are you going?", "ja": "これはとても面白い", "ko": "오늘 밤에 만날까요",
    "ru": "Почему ты молчишь?", "ar": "لماذا لا تعرف الحقيقة",
}  # fmt: skip


@pytest.fixture(scope="module")
def finder():
    return TextFinder()


def gradient():
    rows, columns = np.mgrid[0:240, 0:426]
    return np.stack([columns * 255 // 426, rows * 255 // 240, 128 + 0 * rows], -1).astype(np.uint8)


@pytest.mark.parametrize("script", list(SCRIPTS))
def test_finds_rendered_text_where_it_is(finder, script):
    overlay = render([LINES[script]], SCRIPTS[script], Style(size_share=0.09), faces_for(script)[0], 426, 240)
    boxes = finder.boxes(blend(gradient(), overlay))
    assert boxes.dtype == np.float32
    assert boxes.shape[1:] == (4, 2)
    left, top = boxes.reshape(-1, 2).min(axis=0)
    right, bottom = boxes.reshape(-1, 2).max(axis=0)
    height, width = overlay.rgba.shape[:2]
    centre_x, centre_y = overlay.x_px + width / 2, overlay.y_px + height / 2
    assert left < centre_x < right
    assert top < centre_y < bottom
    assert right - left > 0.6 * width


def test_finds_nothing_in_a_gradient_and_counts(finder):
    share = TextShare(finder)
    assert share.result() is None
    share.add(gradient())
    assert finder.boxes(gradient()).shape == (0, 4, 2)
    assert share.result() == 0.0


class OneBox:
    """A finder that always sees text in one rectangle."""

    def __init__(self, left, top, right, bottom):
        self.corners = np.array([[[left, top], [right, top], [right, bottom], [left, bottom]]], np.float32)

    def boxes(self, rgb):
        return self.corners


@pytest.mark.parametrize(
    ("box", "on_mask"),
    [((10, 10, 50, 20), 1.0), ((0, 0, 200, 100), 0.0), ((60, 40, 90, 60), 0.0), ((-5, 12, 300, 14), 0.0)],
)
def test_text_counts_as_on_the_mask_where_enough_of_its_box_is_mask(box, on_mask):
    mask = np.zeros((100, 200), bool)
    mask[12:18, 12:48:4] = True
    share = TextShare(OneBox(*box))
    share.add(np.zeros((100, 200, 3), np.uint8), mask)
    assert share.result() == 1.0
    assert share.on_mask() == on_mask
