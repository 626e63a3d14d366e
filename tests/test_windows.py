"""Windows: nothing dropped, nothing longer than asked, weights that add up to one, the released rule to the letter."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_rt.windows import plan_windows, ramp, shares

POLICIES = ("paper", "stream", "reference")


@st.composite
def asked(draw):
    window = draw(st.integers(1, 24))
    return draw(st.integers(1, 300)), window, draw(st.integers(0, window - 1))


def spans(plan) -> list[tuple[int, int]]:
    return [(window.start, window.stop) for window in plan.windows]


@given(asked(), st.sampled_from(POLICIES))
def test_every_latent_is_covered_in_order_and_none_twice_over(request_, policy):
    total = request_[0]
    plan = plan_windows(*request_, policy)
    assert plan.total_latents == total
    assert {t for window in plan.windows for t in window} == set(range(total))
    assert all(window.step == 1 for window in plan.windows)
    for a, b in pairwise(plan.windows):
        assert a.start < b.start <= a.stop < b.stop
    assert [plan.next_start(i) for i in range(len(plan.windows))] == [*(w.start for w in plan.windows[1:]), total]


@given(asked(), st.sampled_from(["paper", "stream"]))
def test_windows_are_equal_and_the_last_slides_back(request_, policy):
    total, window, overlap = request_
    plan = plan_windows(*request_, policy)
    assert {len(w) for w in plan.windows} == {min(window, total)}
    assert plan.windows[-1].stop == total
    assert plan.border_latents == overlap
    for a, b in pairwise(plan.windows[:-1]):
        assert a.stop - b.start == overlap
    if len(plan.windows) > 1:
        # One window fewer would not reach the end.
        assert plan.windows[-2].stop - plan.windows[-1].start >= overlap
        assert plan.windows[-2].stop < total


@given(asked())
def test_paper_and_stream_have_the_same_windows(request_):
    assert plan_windows(*request_, "paper") == plan_windows(*request_, "stream")


def _released(total: int, window: int, stride: int) -> tuple[list[tuple[int, int]], list[list[Fraction]]]:
    """Windows and weights as reference.md 6.5 words them, written for this test alone."""
    found, masks = [], []
    border = window - stride
    t = 0
    while t < total:
        if not (t - stride >= 0 and t - stride + window >= total):
            end = min(t + window, total)
            mask = [Fraction(1)] * (end - t)
            for k in range(border):
                if t != 0:
                    mask[k] = (k + Fraction(1, 2)) / border
            for k in range(border):
                if end != total:
                    mask[-1 - k] = (k + Fraction(1, 2)) / border
            found.append((t, end))
            masks.append(mask)
        t += stride
    return found, masks


@given(asked())
def test_reference_is_the_released_rule(request_):
    total, window, overlap = request_
    plan = plan_windows(*request_, "reference")
    window_frames, overlap_frames = 4 * window - 3, 4 * overlap
    expected, masks = _released(total, window_frames, window_frames - overlap_frames)
    assert spans(plan) == expected
    for i, mask in enumerate(masks):
        np.testing.assert_array_equal(ramp(plan, i), np.array([float(weight) for weight in mask], np.float32))


def test_the_released_numbers():
    plan = plan_windows(89, 21, 4, "reference")
    assert spans(plan) == [(0, 81), (65, 89)]
    assert plan.border_latents == 16
    for total in (1, 21, 55, 81):
        assert spans(plan_windows(total, 21, 4, "reference")) == [(0, total)]
    assert spans(plan_windows(82, 21, 4, "reference")) == [(0, 81), (65, 82)]
    assert spans(plan_windows(147, 21, 4, "reference")) == [(0, 81), (65, 146), (130, 147)]


def test_released_windows_go_by_the_frames_of_a_latent():
    """5 latents of 2 frames: windows of 9 that overlap by 4."""
    plan = plan_windows(12, 5, 2, "reference", latent_frames=2)
    assert spans(plan) == [(0, 9), (5, 12)]
    assert plan.border_latents == 4
    assert plan_windows(12, 5, 2, "paper", latent_frames=2) == plan_windows(12, 5, 2, "paper")


def test_the_intended_numbers():
    plan = plan_windows(72, 21, 4, "paper")
    assert spans(plan) == [(0, 21), (17, 38), (34, 55), (51, 72)]
    np.testing.assert_array_equal(ramp(plan, 1)[:4], np.float32([0.125, 0.375, 0.625, 0.875]))
    np.testing.assert_array_equal(ramp(plan, 1)[-4:], np.float32([0.875, 0.625, 0.375, 0.125]))
    assert (ramp(plan, 1)[4:-4] == 1).all()
    assert (ramp(plan, 0)[:-4] == 1).all()
    assert (ramp(plan, 3)[4:] == 1).all()


def test_a_short_tail_slides_back_instead_of_running_short():
    assert spans(plan_windows(17, 9, 2, "paper")) == [(0, 9), (7, 16), (8, 17)]
    assert spans(plan_windows(10, 9, 2, "paper")) == [(0, 9), (1, 10)]
    assert spans(plan_windows(7, 9, 2, "stream")) == [(0, 7)]


def test_without_overlap_there_are_no_ramps():
    plan = plan_windows(10, 4, 0, "paper")
    assert spans(plan) == [(0, 4), (4, 8), (6, 10)]
    assert all((ramp(plan, i) == 1).all() for i in range(3))
    np.testing.assert_array_equal(shares(plan)[2], np.float32([0.5, 0.5, 1, 1]))
    assert spans(plan_windows(3, 1, 0, "stream")) == [(0, 1), (1, 2), (2, 3)]


@given(asked(), st.sampled_from(POLICIES))
def test_shares_add_up_to_one(request_, policy):
    plan = plan_windows(*request_, policy)
    sums = np.zeros(plan.total_latents)
    counts = np.zeros(plan.total_latents, int)
    for window, share in zip(plan.windows, shares(plan), strict=True):
        assert share.dtype == np.float32
        assert share.shape == (len(window),)
        assert ((share > 0) & (share <= 1)).all()
        sums[window.start : window.stop] += share
        counts[window.start : window.stop] += 1
    # The shares of a latent are divided by the same float32 sum, off by half a step of 2**-24 for each window in it,
    # and rounded once more each.
    assert (abs(sums - 1) <= counts * 2.0**-23).all()
    assert (sums[counts == 1] == 1).all()


@given(asked(), st.sampled_from(POLICIES))
def test_ramps_run_only_towards_neighbours(request_, policy):
    plan = plan_windows(*request_, policy)
    border = plan.border_latents
    for i, window in enumerate(plan.windows):
        weights = ramp(plan, i)
        assert weights.dtype == np.float32
        assert ((weights > 0) & (weights <= 1)).all()
        inner = slice(0 if i == 0 else border, None if window.stop == plan.total_latents else len(window) - border)
        assert (weights[inner] == 1).all()


@given(asked(), st.sampled_from(POLICIES), st.integers(0, 2**32 - 1))
def test_blending_undoes_splitting(request_, policy, seed):
    plan = plan_windows(*request_, policy)
    whole = np.random.default_rng(seed).standard_normal(plan.total_latents)
    blended = np.zeros_like(whole)
    for window, share in zip(plan.windows, shares(plan), strict=True):
        blended[window.start : window.stop] += whole[window.start : window.stop] * share
    np.testing.assert_allclose(blended, whole, rtol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("total", "window", "overlap"),
    [(0, 9, 2), (-1, 9, 2), (20, 9, 9), (20, 9, 10), (20, 9, -1), (20, 0, 0), (5, -3, -4)],
)
def test_what_is_no_plan_is_refused(total, window, overlap, policy):
    with pytest.raises(ValueError, match="at least one latent and 0 <= overlap < window, got"):
        plan_windows(total, window, overlap, policy)
