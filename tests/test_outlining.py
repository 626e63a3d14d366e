"""Text is looked for in the small picture and outlined in the large one, around what the first look saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clear_rt.bundle import open_bundle
from clear_rt.config import MatteConfig
from clear_rt.outlining import Outlining, opened_outliner
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


class Asked:
    """Gives the larger picture, once at most."""

    def __init__(self, picture):
        self.picture, self.sizes = picture, []

    def __call__(self, size):
        self.sizes.append(size)
        assert self.sizes == [OUTLINE]
        return self.picture


@pytest.fixture
def looking():
    return Looking()


@pytest.fixture
def outliner():
    return Looking()


@pytest.fixture
def outlining(looking, outliner):
    return Outlining(Prior(looking, 16), WORKING, Prior(outliner, 16), OUTLINE, 51)


def _pictures():
    """White strokes three pixels wide in the large picture, and the same picture half as large."""
    large = np.zeros((720, 1280, 3), np.uint8)
    large[600:640, 300:900:24] = large[600:640, 301:900:24] = large[600:640, 302:900:24] = 255
    return large, large[1::2, 1::2].copy()


def test_the_map_has_the_strokes_of_the_large_picture(looking, outliner, outlining):
    large, small = _pictures()
    asked = Asked(large)
    found = outlining(small, [Box(0, 280, 640, 60)], asked).map
    assert np.array_equal(found > 127, (large == 255).all(axis=2))
    assert asked.sizes == [OUTLINE]
    assert looking.sizes == [Size(640, 64)]
    # 600 x 40 px of text and 38 px around it, to multiples of 32: less than a fifth of the picture.
    (seen,) = outliner.sizes
    assert seen.width_px * seen.height_px < 0.2 * 1280 * 720


def test_no_second_look_where_the_first_saw_nothing(looking, outliner, outlining):
    large, small = _pictures()
    asked = Asked(large)
    found = outlining(small, [Box(0, 0, 640, 100)], asked).map
    assert found.shape == (720, 1280)
    assert not found.any()
    assert asked.sizes == outliner.sizes == []
    assert len(looking.sizes) == 1


def test_what_the_outliner_alone_sees_is_no_text(outlining):
    """Something white beside the text, which the small picture does not show: within six pixels of it, and further."""
    large, small = _pictures()
    large[646:648, 400:440] = 255
    large[650:654, 500:540] = 255
    found = outlining(small, [Box(0, 280, 640, 60)], Asked(large)).map
    assert not found[650:].any()
    assert (found[600:640, 300] > 127).all()


def test_both_networks_count():
    """Strokes of 12 px that the outliner sees hollow are whole to the prior; beside them the outliner has its way."""
    large, small = _pictures()
    large[500:560, 200:400] = 255
    small[250:280, 100:200] = 255

    class Hollow(BlockEngine):
        def occlusion(self, rgb):
            found = super().occlusion(rgb)
            inside = np.zeros(found.shape, bool)
            inside[12:-12, 12:-12] = True
            return np.where((rgb == 255).all(axis=2) & inside & (np.indices(found.shape)[0] % 16 > 7), 50, found)

    mixed = Outlining(Prior(Looking(), 16), WORKING, Prior(Hollow(), 16), OUTLINE, 51)
    found = mixed(small, [Box(0, 240, 640, 110)], Asked(large)).map
    assert found[504:556, 204:396].min() > 255 * MatteConfig().high_probability
    assert not found[500:560, 402:].any()


def test_two_regions_are_outlined_apart(outliner, outlining):
    large, small = _pictures()
    large[40:60, 100:160] = 255
    small[20:30, 50:80] = 255
    found = outlining(small, [Box(0, 0, 640, 60), Box(0, 280, 640, 60)], Asked(large)).map
    assert np.array_equal(found > 127, (large == 255).all(axis=2))
    assert max(size.width_px * size.height_px for size in outliner.sizes) < 0.2 * 1280 * 720


def test_text_that_stays_is_outlined_once(looking, outliner, outlining):
    """However its surroundings change; the map is made of what the prior sees now."""
    large, small = _pictures()
    box = Box(0, 280, 640, 60)
    first = outlining(small, [box], Asked(large))
    changed = small.copy()
    changed[:, 500:] = 90
    again = outlining(changed, [box], lambda _size: pytest.fail("asked for"), first.strokes)
    assert np.array_equal(again.map, first.map)
    assert again.strokes == first.strokes
    assert (len(looking.sizes), len(outliner.sizes)) == (2, 1)


@pytest.mark.parametrize("change", ["another line", "a longer line", "another colour", "no text", "another box"])
def test_other_text_is_outlined_anew(outliner, outlining, change):
    large, small = _pictures()
    box = other = Box(0, 280, 640, 60)
    first = outlining(small, [box], Asked(large))
    if change == "another line":
        large, small = np.roll(large, 12, 1), np.roll(small, 6, 1)
    elif change == "a longer line":
        large[600:640, 900:1100] = 255
        small[300:320, 450:550] = 255
    elif change == "another colour":
        large, small = (np.where(picture == 255, np.uint8(247), picture) for picture in (large, small))
    elif change == "no text":
        large, small = np.zeros_like(large), np.zeros_like(small)
    else:
        other = Box(0, 276, 640, 64)
    found = outlining(small, [other], Asked(large), first.strokes)
    assert np.array_equal(found.map > 127, (large >= 247).all(axis=2))
    assert len(outliner.sizes) == (1 if change == "no text" else 2)
    assert list(found.strokes) == ([] if change == "no text" else [other])


def test_a_picture_of_both_sizes_is_asked_for_once(looking, outliner):
    _, small = _pictures()
    both = Outlining(Prior(looking, 16), WORKING, Prior(outliner, 16), WORKING, 51)
    found = both(small, [Box(0, 280, 640, 60)], lambda _size: pytest.fail("asked for")).map
    assert np.array_equal(found == 255, (small == 255).all(axis=2))
    assert not found[found < 255].any()
    assert (len(looking.sizes), len(outliner.sizes)) == (1, 1)


def test_without_an_outliner_the_prior_outlines(looking):
    _, small = _pictures()
    alone = Outlining(Prior(looking, 16), WORKING, None, WORKING, 51)
    found = alone(small, [Box(0, 280, 640, 60)], lambda _size: pytest.fail("asked for")).map
    assert np.array_equal(found == 255, (small == 255).all(axis=2))
    assert len(looking.sizes) == 1


@pytest.mark.parametrize(
    ("picture", "outline"),
    [((640, 360), (640, 360)), ((640, 272), (848, 360)), ((854, 480), (854, 480)), ((720, 405), (720, 405)),
     ((2000, 400), (1600, 400)), ((1280, 720), (1280, 720)), ((3840, 2160), (1280, 720)), ((1080, 1920), (720, 1280))],
)  # fmt: skip
def test_the_size_is_the_pictures_own_up_to_720_rows(picture, outline):
    assert outline_size(*picture, 360, 720) == outline


def test_a_bundle_says_what_outlines_and_in_what_size():
    bundle, picture = open_bundle(), Size(1920, 1080)
    prior, outliner = Prior(BlockEngine(), 16), opened_outliner(bundle)
    assert outliner is not None
    found = Outlining.of(bundle, prior, outliner, picture, MatteConfig())
    assert found == (prior, Size(640, 360), outliner, Size(1280, 720), 51)
    alone = replace(bundle, outliner=None)
    assert opened_outliner(alone) is None
    found = Outlining.of(alone, prior, None, picture, MatteConfig(seen_probability=0.5))
    assert found == (prior, Size(640, 360), None, Size(640, 360), 128)
