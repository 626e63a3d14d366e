"""Text is looked for in the small picture and outlined in the large one, around what the first look saw."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from clear_rt.bundle import open_bundle
from clear_rt.config import MatteConfig
from clear_rt.outlining import Outlining
from clear_rt.prior import Prior
from clear_rt.shapes import Box, Size, outline_size
from tests.block_engine import BlockEngine

WORKING, OUTLINE = Size(640, 360), Size(1280, 720)


class Looking(BlockEngine):
    """Notes the sizes of the pictures that it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[Size] = []

    def occlusion(self, rgb):
        self.sizes.append(Size(rgb.shape[1], rgb.shape[0]))
        return super().occlusion(rgb)


def _frame(picture):
    """A frame whose larger picture is this; it is asked for once at most."""
    asked = []

    def rgb(height_px, width_px):
        asked.append(Size(width_px, height_px))
        assert asked == [OUTLINE]
        return picture

    return SimpleNamespace(rgb=rgb, asked=asked)


@pytest.fixture
def engine():
    return Looking()


@pytest.fixture
def outlining(engine):
    return Outlining(Prior(engine, 16), WORKING, OUTLINE, seen_level=52)


def _pictures():
    """White strokes three pixels wide in the large picture, and the same picture half as large."""
    large = np.zeros((720, 1280, 3), np.uint8)
    large[600:640, 300:900:24] = large[600:640, 301:900:24] = large[600:640, 302:900:24] = 255
    return large, large[1::2, 1::2].copy()


def test_the_map_has_the_strokes_of_the_large_picture(engine, outlining):
    large, small = _pictures()
    frame, band = _frame(large), Box(0, 280, 640, 60)
    found = outlining(frame, small, [band])
    assert np.array_equal(found == 255, (large == 255).all(axis=2))
    assert frame.asked == [OUTLINE]
    first, second = engine.sizes
    assert first == Size(640, 64)
    # 600 x 40 px of text and 50 px around it, to multiples of 64: less than a fifth of the picture.
    assert second.width_px * second.height_px < 0.2 * 1280 * 720


def test_no_second_look_where_the_first_saw_nothing(engine, outlining):
    large, small = _pictures()
    frame = _frame(large)
    found = outlining(frame, small, [Box(0, 0, 640, 100)])
    assert found.shape == (720, 1280)
    assert not found.any()
    assert frame.asked == []
    assert len(engine.sizes) == 1


def test_two_regions_are_outlined_apart(engine, outlining):
    large, small = _pictures()
    large[40:60, 100:160] = 255
    small[20:30, 50:80] = 255
    found = outlining(_frame(large), small, [Box(0, 0, 640, 60), Box(0, 280, 640, 60)])
    assert np.array_equal(found == 255, (large == 255).all(axis=2))
    assert max(size.width_px * size.height_px for size in engine.sizes) < 0.2 * 1280 * 720


def test_pictures_of_one_size_are_looked_at_once(engine):
    _, small = _pictures()
    found = Outlining(Prior(engine, 16), WORKING, WORKING, seen_level=52)(None, small, [Box(0, 280, 640, 60)])
    assert np.array_equal(found == 255, (small == 255).all(axis=2))
    assert len(engine.sizes) == 1


@pytest.mark.parametrize(
    ("picture", "outline"),
    [((640, 360), (640, 360)), ((640, 272), (848, 360)), ((854, 480), (854, 480)), ((720, 405), (720, 405)),
     ((2000, 400), (1600, 400)), ((1280, 720), (1280, 720)), ((3840, 2160), (1280, 720)), ((1080, 1920), (720, 1280))],
)  # fmt: skip
def test_the_size_is_the_pictures_own_up_to_720_rows(picture, outline):
    assert outline_size(*picture, 360, 720) == outline


def test_a_bundle_with_one_size_has_one_for_both():
    spec = open_bundle().prior
    found = Outlining.of(spec, Prior(BlockEngine(), 16), Size(1920, 1080), MatteConfig())
    assert found.working == Size(640, 360)
    assert min(found.outline) == spec.outline_side_px
    assert found.seen_level == 51
