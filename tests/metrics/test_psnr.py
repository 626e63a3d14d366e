"""PSNR against the plain formula in float64."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.metrics.psnr import IDENTICAL_FRAME_DB, PsnrSum


def formula(a, b):
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


def summed(pictures, references, masks):
    total = PsnrSum()
    for triple in zip(pictures, references, masks, strict=True):
        total.add(*triple)
    return total.result()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1))
def test_equals_the_formula(seed, frames, height, width, share):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, (2, frames, height, width, 3), np.uint8)
    mask = rng.random((frames, height, width)) < share
    found = summed(a, b, mask)
    assert found.frame_db == pytest.approx(formula(a, b), rel=1e-12)
    for value, pixels in ((found.inside_db, mask), (found.outside_db, ~mask)):
        assert value == (pytest.approx(formula(a[pixels], b[pixels]), rel=1e-12) if pixels.any() else None)
    each = [min(formula(x, y), IDENTICAL_FRAME_DB) for x, y in zip(a, b, strict=True)]
    assert found.mean_of_frames_db == pytest.approx(np.mean(each), rel=1e-12)


def test_known_values():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert summed([white], [black], [None]).frame_db == 0.0
    assert summed([black + 1], [black], [None]).frame_db == pytest.approx(48.1308036)


def test_identical_frames_are_infinite_and_capped_only_in_the_mean():
    black = np.zeros((4, 4, 3), np.uint8)
    mask = np.eye(4, dtype=bool)
    same = summed([black], [black], [mask])
    assert (same.frame_db, same.inside_db, same.outside_db, same.mean_of_frames_db) == (
        math.inf,
        math.inf,
        math.inf,
        100,
    )
    half = summed([black, black + 255], [black, black], [mask, mask])
    assert half.frame_db == pytest.approx(10 * math.log10(2))
    assert half.mean_of_frames_db == 50


def test_without_mask_or_frames_there_is_no_figure():
    black = np.zeros((4, 4, 3), np.uint8)
    unmasked = summed([black], [black + 1], [None])
    assert (unmasked.inside_db, unmasked.outside_db) == (None, None)
    empty = PsnrSum().result()
    assert (empty.frame_db, empty.inside_db, empty.outside_db, empty.mean_of_frames_db) == (None,) * 4


def test_the_sums_do_not_grow_with_the_video():
    total = PsnrSum()
    picture = np.zeros((2, 2, 3), np.uint8)
    bytes_held = []
    for _ in range(2):
        for _ in range(500):
            total.add(picture + 3, picture, None)
        bytes_held.append(len(pickle.dumps(total)))
    assert bytes_held[1] <= bytes_held[0] + 16
