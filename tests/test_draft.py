"""Drafts: the membrane's fill of a crop, where alpha says so and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from clear_rt.draft import draft
from clear_rt.membrane import fill


def _crop(seed=0, shape=(24, 40)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)


def test_without_alpha_it_is_the_crop_itself():
    crop = _crop()
    assert draft(crop, np.zeros(crop.shape[:2], np.uint8)) is crop


@pytest.mark.parametrize("corner", [(0, 0), (20, 36), (9, 13)])
def test_it_is_the_membrane_of_the_whole_crop_blended_by_alpha(corner):
    crop, alpha = _crop(), np.zeros((24, 40), np.uint8)
    y, x = corner
    alpha[y : y + 4, x : x + 4] = 255
    alpha[max(y - 1, 0) : y, x : x + 4] = 100
    before = crop.copy()
    filled = fill(crop.transpose(2, 0, 1).astype(np.float32), alpha >= 192).transpose(1, 2, 0)
    expected = crop + (filled - crop) * (alpha[..., None] / 255)
    found = draft(crop, alpha)
    assert np.abs(found - expected).max() <= 0.501 + 0.4
    np.testing.assert_array_equal(found[alpha == 0], crop[alpha == 0])
    np.testing.assert_array_equal(crop, before)


def test_a_text_never_shines_through():
    """What alpha covers fully is not read: another text under it gives the same draft."""
    alpha = np.zeros((24, 40), np.uint8)
    alpha[8:16, 10:30] = 255
    one, other = _crop(), _crop()
    other[alpha == 255] = 255 - other[alpha == 255]
    np.testing.assert_array_equal(draft(one, alpha), draft(other, alpha))


def test_a_crop_that_is_all_text_becomes_grey():
    crop = _crop()
    np.testing.assert_array_equal(draft(crop, np.full((24, 40), 255, np.uint8)), np.full_like(crop, 128))
