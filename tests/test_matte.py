"""Mattes: hysteresis in time against a plain reference, growth and feather against distances, alpha on every plane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.config import MatteConfig
from clear_rt.matte import grow_and_feather, near_text, steady
from clear_rt.matte_planes import alpha_for, luma_alpha
from clear_rt.shapes import Box, Size, plane_box


def _config(**changes):
    """Thresholds that are far apart, whatever the defaults are."""
    return MatteConfig(
        **({"low_probability": 0.2, "high_probability": 0.5, "sure_probability": 0.9, "least_frames": 3} | changes)
    )


PLAIN = _config(dilate_px=0, feather_px=0)


@settings(deadline=None)
@given(st.integers(0, 14), st.integers(0, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_hysteresis_in_time_equals_its_definition(count, reach, least, seed):
    rng = np.random.default_rng(seed)
    levels = np.array([0, 51, 52, 127, 128, 255], np.uint8)
    maps = rng.choice(levels, (count, 24, 40), p=[0.3, 0.1, 0.3, 0.1, 0.1, 0.1])
    config = _config(reach_frames=reach, least_frames=least, dilate_px=0, feather_px=0)
    mattes = list(steady(iter(maps), config))
    assert len(mattes) == count
    for t, matte in enumerate(mattes):
        window = maps[max(t - reach, 0) : t + reach + 1]
        often = (window > 255 * 0.5).sum(axis=0) >= min(least, len(window))
        np.testing.assert_array_equal(matte, np.where((maps[t] > 255 * 0.2) & often, 255, 0))
        assert matte.dtype == np.uint8


@settings(deadline=None)
@given(st.integers(0, 70), st.integers(0, 110), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_what_is_far_from_the_text_does_not_matter(y, x, height, width, seed):
    """Text anywhere in a larger map, computed around it alone, against the definition on whole maps."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((3, 75, 115), np.uint8)
    shown = np.s_[:, y : y + height, x : x + width]
    maps[shown] = rng.choice(np.array([0, 60, 200, 255], np.uint8), maps[shown].shape, p=[0.6, 0.2, 0.15, 0.05])
    config = _config(reach_frames=1, least_frames=2, dilate_px=1, feather_px=2)
    often = (maps > 255 * 0.5).sum(axis=0) >= 2
    expected = near_text((maps[1] > 255 * 0.2) & often, (maps > int(255 * 0.9)).any(axis=0))
    found = list(steady(iter(maps), config))[1]
    np.testing.assert_array_equal(found, grow_and_feather(expected, 1, 2))


def test_what_flickers_is_left_alone_and_a_fade_is_not():
    config = _config(dilate_px=0, feather_px=0)
    flicker = [np.full((24, 24), 255 if t % 4 == 0 else 0, np.uint8) for t in range(12)]
    assert not any(matte.any() for matte in steady(flicker, config))
    fade = [np.full((24, 24), level, np.uint8) for level in (0, 60, 100, 240, 250, 250, 250, 250)]
    assert [bool(matte.all()) for matte in steady(fade, config)] == [False, False, True, True, True, True, True, True]


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_a_matte_comes_as_soon_as_its_reach_was_seen(reach):
    taken = []

    def maps():
        for i in range(10):
            taken.append(i)
            yield np.zeros((8, 8), np.uint8)

    for i, _ in enumerate(steady(maps(), _config(reach_frames=reach))):
        assert len(taken) == min(i + reach + 1, 10)


def test_a_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match="shape"):
        list(steady([np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)], PLAIN))


def test_mattes_do_not_share_memory_with_maps_or_each_other():
    text = np.zeros((16, 16), np.uint8)
    text[4:12, 4:12] = 255
    first, second = steady([text, text], _config(reach_frames=0))
    first[:] = 7
    assert second.max() == 255
    assert text.max() == 255


@pytest.mark.parametrize("dilate", range(5))
@pytest.mark.parametrize("feather", range(5))
def test_growth_and_ramp_of_one_pixel(dilate, feather):
    core = np.zeros((31, 31), bool)
    core[15, 15] = True
    matte = grow_and_feather(core, dilate, feather)
    expected = [255] * (dilate + 1) + [round(255 * (feather - i) / (feather + 1)) for i in range(feather)]
    expected += [0] * (16 - len(expected))
    np.testing.assert_array_equal(matte[15, 15:], expected)
    np.testing.assert_array_equal(matte[15:, 15], expected)
    for turned in (matte.T, matte[::-1], matte[:, ::-1]):
        np.testing.assert_array_equal(turned, matte)
    y, x = np.mgrid[-15:16, -15:16]
    far = np.hypot(y, x)
    assert (matte[far <= 0.9 * dilate] == 255).all()
    assert (matte[far > (dilate + feather) * 1.12 + 0.5] == 0).all()


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_growth_of_a_mask_is_the_largest_of_its_pixels(height, width, dilate, feather, seed):
    core = np.random.default_rng(seed).random((height, width)) < 0.02
    expected = np.zeros((height, width), np.uint8)
    for y, x in np.argwhere(core):
        single = np.zeros((height, width), bool)
        single[y, x] = True
        expected = np.maximum(expected, grow_and_feather(single, dilate, feather))
    np.testing.assert_array_equal(grow_and_feather(core, dilate, feather), expected)


def test_what_lies_far_from_sure_text_goes_and_thin_strokes_and_dots_stay():
    text = np.zeros((61, 83), bool)
    text[30:39, 20] = True
    text[27, 20] = True
    text[38, 30] = True
    speck = text.copy()
    speck[3:9, 60:66] = True
    np.testing.assert_array_equal(near_text(speck, text), text)
    np.testing.assert_array_equal(near_text(text, text), text)
    np.testing.assert_array_equal(near_text(text, np.zeros_like(text)), False)


def interpolated(matte: np.ndarray, picture: Size) -> np.ndarray:
    """Bilinear interpolation between pixel centres in fp64, for a picture not smaller than the matte."""

    def operator(source: int, target: int) -> np.ndarray:
        centres = (np.arange(target) + 0.5) * source / target - 0.5
        return np.maximum(1 - np.abs(np.clip(centres, 0, source - 1)[:, None] - np.arange(source)), 0)

    return operator(matte.shape[0], picture.height_px) @ matte @ operator(matte.shape[1], picture.width_px).T


@st.composite
def placed_mattes(draw, ratios):
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matte = np.zeros((height, width), np.uint8)
    y, x = rng.integers(0, height), rng.integers(0, width)
    part = matte[y : y + rng.integers(1, 12), x : x + rng.integers(1, 12)]
    part[...] = rng.integers(0, 256, part.shape)
    picture = Size(max(int(width * draw(ratios)), 1), max(int(height * draw(ratios)), 1))
    left, top = rng.integers(0, picture.width_px), rng.integers(0, picture.height_px)
    box = Box(
        int(left),
        int(top),
        int(rng.integers(1, picture.width_px - left + 1)),
        int(rng.integers(1, picture.height_px - top + 1)),
    )
    return matte, picture, box


@settings(deadline=None, max_examples=200)
@given(placed_mattes(st.floats(1, 4)))
def test_alpha_of_a_larger_picture_is_bilinear(case):
    matte, picture, box = case
    alpha = luma_alpha(matte, picture, box)
    assert alpha.dtype == np.uint8
    assert alpha.shape == (box.height_px, box.width_px)
    np.testing.assert_allclose(alpha, interpolated(matte, picture)[box.slices], atol=0.5 + 1e-3)


@settings(deadline=None, max_examples=200)
@given(placed_mattes(st.floats(0.05, 0.99)))
def test_alpha_of_a_smaller_picture_loses_nothing(case):
    matte, picture, box = case
    alpha = luma_alpha(matte, picture, box)
    for y in range(box.height_px):
        for x in range(box.width_px):
            rows = range(
                (box.y_px + y) * matte.shape[0] // picture.height_px,
                -(-(box.y_px + y + 1) * matte.shape[0] // picture.height_px),
            )
            columns = range(
                (box.x_px + x) * matte.shape[1] // picture.width_px,
                -(-(box.x_px + x + 1) * matte.shape[1] // picture.width_px),
            )
            assert alpha[y, x] == matte[rows.start : rows.stop, columns.start : columns.stop].max()


@settings(deadline=None, max_examples=200)
@given(placed_mattes(st.floats(1, 2)), st.sampled_from([(1, 1), (2, 1), (2, 2), (1, 2), (4, 1)]), st.booleans())
def test_plane_alpha_is_the_largest_of_its_pixels_grown(case, steps, spread):
    matte, picture, box = case
    luma = luma_alpha(matte, picture, box)
    inner = plane_box(box, *steps)
    alpha = alpha_for(luma, box, *steps, spread=spread)
    assert alpha.shape == (inner.height_px, inner.width_px)
    expected = np.zeros((inner.height_px + 2, inner.width_px + 2), np.uint8)
    reach = range(-1, 2) if spread else range(1)
    for (y, x), value in np.ndenumerate(luma):
        row, column = (box.y_px + y) // steps[1] - inner.y_px + 1, (box.x_px + x) // steps[0] - inner.x_px + 1
        for dy in reach:
            for dx in reach:
                expected[row + dy, column + dx] = max(expected[row + dy, column + dx], value)
    np.testing.assert_array_equal(alpha, expected[1:-1, 1:-1])
