"""Crops: inside the picture, as large as the profile, and their content goes back to where it came from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.crops import place
from clear_rt.shapes import Box, Size, whole

sides = st.integers(1, 130)


@st.composite
def placed(draw):
    picture = Size(draw(sides), draw(sides))
    x, y = draw(st.integers(0, picture.width_px - 1)), draw(st.integers(0, picture.height_px - 1))
    box = Box(x, y, draw(st.integers(1, picture.width_px - x)), draw(st.integers(1, picture.height_px - y)))
    profiles = draw(st.lists(st.builds(Size, sides, sides), max_size=3))
    return place(box, picture, draw(st.sampled_from([1, 8, 16])), draw(st.integers(256, 20_000)), profiles)


@given(placed())
def test_a_crop_lies_in_the_scaled_picture_and_holds_the_region(placement):
    assert whole(placement.scaled).union(placement.box) == whole(placement.scaled)
    assert placement.box.width_px == min(placement.profile.width_px, placement.scaled.width_px)
    assert placement.box.height_px == min(placement.profile.height_px, placement.scaled.height_px)
    if not placement.is_scaled:
        assert placement.box.union(placement.target) == placement.box
    ratio_x = placement.scaled.width_px / placement.picture.width_px
    ratio_y = placement.scaled.height_px / placement.picture.height_px
    assert placement.box.x_px <= placement.target.x_px * ratio_x + 1e-9
    assert placement.box.y_px <= placement.target.y_px * ratio_y + 1e-9
    assert placement.target.right_px * ratio_x < placement.box.right_px + 1
    assert placement.target.bottom_px * ratio_y < placement.box.bottom_px + 1


@given(placed(), st.integers(0, 99))
@settings(deadline=None)
def test_padding_repeats_the_edge_and_is_never_read(placement, seed):
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (placement.scaled.height_px, placement.scaled.width_px, 3), np.uint8)
    crop = placement.cut(rgb)
    assert crop.shape == (placement.profile.height_px, placement.profile.width_px, 3)
    height, width = placement.box.height_px, placement.box.width_px
    np.testing.assert_array_equal(crop[:height, :width], rgb[placement.box.slices])
    np.testing.assert_array_equal(crop[height:], np.broadcast_to(crop[height - 1], crop[height:].shape))
    np.testing.assert_array_equal(crop[:, width:], np.broadcast_to(crop[:, width - 1 : width], crop[:, width:].shape))
    assert not np.shares_memory(crop, rgb)
    poisoned = crop.astype(np.float32)
    poisoned[height:] = poisoned[:, width:] = np.nan
    content = placement.restore(poisoned)
    assert content.shape == (placement.target.height_px, placement.target.width_px, 3)
    assert np.isfinite(content).all()
    if not placement.is_scaled:
        np.testing.assert_array_equal(content, rgb[placement.target.slices])


@given(placed())
@settings(deadline=None)
def test_a_scaled_ramp_comes_back_in_its_place(placement):
    """A ramp over the picture, sampled at the centres of the scaled pixels: bilinear interpolation is exact for it.

    Except beyond the outermost centres of the crop, by at most a pixel and a half of the scaled picture there.
    """
    picture, scaled = placement.picture, placement.scaled
    y = (np.arange(scaled.height_px) + 0.5) / scaled.height_px
    x = (np.arange(scaled.width_px) + 0.5) / scaled.width_px
    ramp = np.stack(np.broadcast_arrays(y[:, None], x[None], 0.5), axis=2).astype(np.float32)
    crop = np.zeros((placement.profile.height_px, placement.profile.width_px, 3), np.float32)
    crop[: placement.box.height_px, : placement.box.width_px] = ramp[placement.box.slices]
    found = placement.restore(crop)
    rows, columns = placement.target.slices
    expected_y = (np.arange(rows.start, rows.stop) + 0.5) / picture.height_px
    expected_x = (np.arange(columns.start, columns.stop) + 0.5) / picture.width_px
    inside_y = np.clip(expected_y, y[placement.box.y_px], y[placement.box.bottom_px - 1])
    inside_x = np.clip(expected_x, x[placement.box.x_px], x[placement.box.right_px - 1])
    np.testing.assert_allclose(found[..., 0], np.broadcast_to(inside_y[:, None], found.shape[:2]), atol=1e-5)
    np.testing.assert_allclose(found[..., 1], np.broadcast_to(inside_x[None], found.shape[:2]), atol=1e-5)
    np.testing.assert_allclose(found[..., 2], 0.5, atol=1e-6)
    assert np.abs(inside_y - expected_y).max() <= 1.5 / scaled.height_px
    assert np.abs(inside_x - expected_x).max() <= 1.5 / scaled.width_px


@pytest.mark.parametrize("profiles", [(), (Size(640, 144),)])
def test_a_band_is_cut_at_its_own_size(profiles):
    placement = place(Box(0, 224, 640, 136), Size(640, 360), 16, 230_400, profiles)
    assert not placement.is_scaled
    assert placement.profile == Size(640, 144)
    assert placement.box == Box(0, 216, 640, 144)
