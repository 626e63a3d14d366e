"""Boxes: snapped, grown, scaled and fitted boxes hold what they were made from and stay inside the picture."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_rt.shapes import (
    Box,
    Fit,
    Size,
    fit_multiple,
    fit_profile,
    grow,
    plane_box,
    rescale,
    snap,
    whole,
    working_size,
)

sides = st.integers(1, 9000)
pictures = st.builds(Size, sides, sides)


@st.composite
def placed(draw):
    picture = draw(pictures)
    x, y = draw(st.integers(0, picture.width_px - 1)), draw(st.integers(0, picture.height_px - 1))
    return picture, Box(x, y, draw(st.integers(1, picture.width_px - x)), draw(st.integers(1, picture.height_px - y)))


def holds(outer: Box, inner: Box) -> bool:
    return outer.union(inner) == outer


@given(placed(), st.sampled_from([1, 2, 8, 16, 17]))
def test_snapped_edges_are_multiples_or_the_pictures(case, multiple):
    picture, box = case
    snapped = snap(box, multiple, picture)
    assert holds(snapped, box)
    assert holds(whole(picture), snapped)
    assert snapped.x_px % multiple == 0
    assert snapped.y_px % multiple == 0
    assert snapped.right_px % multiple == 0 or snapped.right_px == picture.width_px
    assert snapped.bottom_px % multiple == 0 or snapped.bottom_px == picture.height_px
    assert box.x_px - snapped.x_px < multiple
    assert snapped.right_px - box.right_px < multiple
    assert snap(snapped, multiple, picture) == snapped


@given(placed(), st.integers(0, 500), st.integers(0, 500))
def test_grown_box_is_clamped(case, margin_x, margin_y):
    picture, box = case
    grown = grow(box, margin_x, margin_y, picture)
    assert grown.x_px == max(box.x_px - margin_x, 0)
    assert grown.right_px == min(box.right_px + margin_x, picture.width_px)
    assert grown.y_px == max(box.y_px - margin_y, 0)
    assert grown.bottom_px == min(box.bottom_px + margin_y, picture.height_px)


@given(placed(), pictures)
def test_rescaled_box_covers_the_same_part(case, target):
    picture, box = case
    scaled = rescale(box, picture, target)
    assert holds(whole(target), scaled)
    assert Fraction(scaled.x_px, target.width_px) <= Fraction(box.x_px, picture.width_px)
    assert Fraction(scaled.right_px, target.width_px) >= Fraction(box.right_px, picture.width_px)
    assert Fraction(scaled.bottom_px, target.height_px) >= Fraction(box.bottom_px, picture.height_px)
    assert holds(rescale(scaled, target, picture), box)


@given(placed(), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
def test_plane_box_holds_every_sample_that_the_box_touches(case, step_x, step_y):
    _, box = case
    inner = plane_box(box, step_x, step_y)
    assert inner.x_px == box.x_px // step_x
    assert inner.right_px == (box.right_px - 1) // step_x + 1
    assert inner.y_px == box.y_px // step_y
    assert inner.bottom_px == (box.bottom_px - 1) // step_y + 1


@given(sides, sides)
def test_working_size_is_even_and_keeps_the_aspect(width, height):
    size = working_size(width, height)
    assert min(size) == 360
    assert max(size) % 2 == 0
    assert max(size) <= 4 * 360
    assert working_size(height, width) == Size(size.height_px, size.width_px)
    ratio = max(width, height) / min(width, height)
    if ratio < 3.99:
        assert abs(max(size) - 360 * ratio) <= 1
        assert (size.width_px >= size.height_px) == (width >= height) or max(size) == 360


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ((1280, 720), (640, 360)),
        ((1920, 1080), (640, 360)),
        ((7680, 4320), (640, 360)),
        ((640, 272), (848, 360)),
        ((720, 1280), (360, 640)),
        ((16, 16), (360, 360)),
        ((16, 4320), (360, 1440)),
        ((1, 1), (360, 360)),
    ],
)
def test_working_sizes_of_known_pictures(picture, expected):
    assert working_size(*picture) == expected


@given(placed(), st.lists(pictures, min_size=1, max_size=5))
def test_fitted_box_holds_the_box_and_goes_into_the_profile(case, profiles):
    picture, box = case
    fit = fit_profile(box, picture, profiles)
    assert fit.profile in profiles
    assert holds(fit.box, box)
    assert holds(whole(picture), fit.box)
    assert fit.box.width_px * fit.scale <= fit.profile.width_px
    assert fit.box.height_px * fit.scale <= fit.profile.height_px
    fitting = [size for size in profiles if size.width_px >= box.width_px and size.height_px >= box.height_px]
    assert (fit.scale == 1) == bool(fitting)
    if fitting:
        assert np.prod(fit.profile) == min(np.prod(size) for size in fitting)
        assert fit.box.width_px == min(fit.profile.width_px, picture.width_px)


@given(placed(), st.sampled_from([1, 8, 16, 32]), st.integers(1, 400), st.integers(0, 2000))
def test_a_fit_to_multiples_keeps_to_them_and_to_the_area(case, multiple, cells, more_px):
    picture, box = case
    max_pixels = cells * multiple * multiple + more_px
    fit = fit_multiple(box, picture, multiple, max_pixels)
    assert fit.profile.width_px % multiple == fit.profile.height_px % multiple == 0
    assert 0 < fit.profile.width_px * fit.profile.height_px <= max_pixels
    assert holds(fit.box, box)
    assert holds(whole(picture), fit.box)
    assert fit.box.width_px * fit.scale <= fit.profile.width_px
    assert fit.box.height_px * fit.scale <= fit.profile.height_px
    # No side is longer than the box needs: one multiple less would cut it.
    assert box.width_px * fit.scale > fit.profile.width_px - multiple
    assert box.height_px * fit.scale > fit.profile.height_px - multiple
    needed = Size(-(-box.width_px // multiple) * multiple, -(-box.height_px // multiple) * multiple)
    assert (fit.scale == 1) == (needed.width_px * needed.height_px <= max_pixels)
    if fit.scale == 1:
        assert fit.profile == needed
        assert fit.box.width_px == min(needed.width_px, picture.width_px)
        assert fit.box.height_px == min(needed.height_px, picture.height_px)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 60))
def test_a_fit_to_multiples_shrinks_no_more_than_it_must(width, height, cells):
    """Against every size there is."""
    picture, box, multiple = Size(200, 200), Box(0, 0, width, height), 16
    sizes = [Size(multiple * a, multiple * b) for a in range(1, 14) for b in range(1, 14) if a * b <= cells]
    assert fit_multiple(box, picture, multiple, cells * multiple**2).scale == fit_profile(box, picture, sizes).scale


@pytest.mark.parametrize(
    ("box", "picture", "expected"),
    [
        (Box(0, 288, 640, 72), Size(640, 360), Fit(Size(640, 80), Box(0, 280, 640, 80), Fraction(1))),
        (Box(0, 0, 640, 360), Size(640, 360), Fit(Size(640, 352), Box(0, 0, 640, 360), Fraction(44, 45))),
        (Box(0, 900, 1920, 180), Size(1920, 1080), Fit(Size(1536, 144), Box(0, 900, 1920, 180), Fraction(4, 5))),
        (Box(3, 3, 5, 5), Size(9, 9), Fit(Size(16, 16), Box(0, 0, 9, 9), Fraction(1))),
    ],
)
def test_known_fits_to_multiples(box, picture, expected):
    assert fit_multiple(box, picture, 16, 230_400) == expected


def test_fit_moves_the_box_off_the_edge_and_scales_what_is_too_large():
    profiles = [Size(640, 112), Size(640, 192), Size(1280, 192)]
    assert fit_profile(Box(320, 660, 600, 60), Size(1280, 720), profiles) == Fit(
        Size(640, 112), Box(300, 608, 640, 112), Fraction(1)
    )
    assert fit_profile(Box(0, 0, 2560, 200), Size(2560, 1440), profiles) == Fit(
        Size(1280, 192), Box(0, 0, 2560, 384), Fraction(1, 2)
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: working_size(0, 10),
        lambda: fit_profile(Box(0, 0, 4, 4), Size(8, 8), []),
        lambda: fit_profile(Box(6, 0, 4, 4), Size(8, 8), [Size(8, 8)]),
        lambda: fit_multiple(Box(0, 0, 4, 4), Size(8, 8), 16, 255),
        lambda: fit_multiple(Box(6, 0, 4, 4), Size(8, 8), 16, 256),
        lambda: snap(Box(9, 0, 4, 4), 2, Size(8, 8)),
    ],
)
def test_impossible_boxes_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
