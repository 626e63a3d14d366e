"""Places and smears: no jumps, nothing lost, and the arithmetic of an open shutter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.burn.motion import Extent, Motion, Place, place, travel
from clear_rt.burn.overlay import Overlay, clip, smeared, straight

EXTENT = Extent(Place(100.0, 150.0), 120, 20, 320, 180)


@pytest.mark.parametrize("kind", ["still", "slide", "rise", "drift", "crawl"])
def test_a_millisecond_moves_nothing_far(kind):
    motion = Motion(kind=kind)
    ways = [place(motion, EXTENT, since_us, 3_000_000 - since_us) for since_us in range(0, 3_000_001, 1000)]
    steps = np.abs(np.diff(np.array(ways), axis=0)).max(axis=1)
    # The fastest is a slide at its start: twice its way in its time to enter.
    assert steps.max() <= 2 * (100 + 120) / 400 + 1e-9
    assert ways[1500] == (100.0, 150.0) or kind in ("drift", "crawl")


def test_what_slides_is_outside_at_either_end():
    for since_us, left_us in ((0, 10**6), (10**6, 0)):
        assert place(Motion(kind="slide"), EXTENT, since_us, left_us).x_px == -120
        assert place(Motion(kind="rise"), EXTENT, since_us, left_us).y_px == 180


def test_a_crawl_begins_anew_where_it_ended():
    motion = Motion(kind="crawl", speed_share=0.5, shutter_us=20_000)
    period_us = round((320 + 120) / 160 * 1_000_000)
    assert place(motion, EXTENT, 0, 0).x_px == place(motion, EXTENT, period_us, 0).x_px == 320
    assert travel(motion, EXTENT, period_us, 10**9) == (0.0, 0.0)
    assert travel(motion, EXTENT, 10**6, 10**9)[0] == pytest.approx(-160 * 0.02)


def test_a_closed_shutter_smears_nothing():
    overlay = Overlay(np.full((3, 4, 4), 200, np.uint8), 5, 6)
    assert travel(Motion(kind="slide"), EXTENT, 10, 10**6) == (0.0, 0.0)
    assert smeared(overlay, 0.0, 0.0) is overlay


@settings(max_examples=40, deadline=None)
@given(dx=st.floats(-9, 9), dy=st.floats(-9, 9), size=st.tuples(*[st.integers(1, 12)] * 2), seed=st.integers(0, 99))
def test_a_smear_keeps_the_ink_its_middle_and_its_colour(dx, dy, size, seed):
    rgba = np.random.default_rng(seed).integers(0, 256, (*size, 4), np.uint8)
    rgba[..., :3] = (10, 200, 90)
    before, after = Overlay(rgba, 50, 60), smeared(Overlay(rgba, 50, 60), dx, dy)
    ink, kept = rgba[..., 3].astype(float), after.rgba[..., 3].astype(float)
    # Every sample is rounded to a whole level once.
    assert abs(ink.sum() - kept.sum()) <= 0.5 * kept.size + 1e-6
    if ink.sum() > 40 * kept.size:
        for axis, was, now in ((0, before.y_px, after.y_px), (1, before.x_px, after.x_px)):
            middles = [
                at + (values.sum(axis=1 - axis) * np.arange(values.shape[axis])).sum() / values.sum()
                for at, values in ((was, ink), (now, kept))
            ]
            assert abs(middles[0] - middles[1]) < 0.75
    strong = after.rgba[..., 3] > 60
    assert np.abs(after.rgba[strong][:, :3].astype(int) - (10, 200, 90)).max(initial=0) <= 1


@settings(max_examples=60, deadline=None)
@given(x=st.integers(-30, 60), y=st.integers(-30, 60), width=st.integers(0, 40), height=st.integers(0, 40))
def test_a_clipped_overlay_lies_within_the_picture(x, y, width, height):
    whole = Overlay(np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8), x, y)
    canvas = np.zeros((150, 150, 4), np.uint8)
    canvas[y + 40 : y + 40 + height, x + 40 : x + 40 + width] = whole.rgba
    part = clip(whole, 50, 45)
    seen = np.zeros((45, 50, 4), np.uint8)
    if part.rgba.size:
        rows, columns = part.rgba.shape[:2]
        seen[part.y_px : part.y_px + rows, part.x_px : part.x_px + columns] = part.rgba
    np.testing.assert_array_equal(seen, canvas[40:85, 40:90])


def test_straight_undoes_premultiplying():
    rgba = np.random.default_rng(3).integers(1, 256, (9, 9, 4)).astype(np.float32)
    premultiplied = np.concatenate([rgba[..., :3] * rgba[..., 3:] / 255, rgba[..., 3:]], axis=2)
    np.testing.assert_array_equal(straight(premultiplied), rgba.astype(np.uint8))
    assert not straight(np.zeros((2, 2, 4), np.float32)).any()
