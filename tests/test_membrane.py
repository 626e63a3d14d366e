"""The membrane is the discrete harmonic function: compared with a dense fp64 solution, its principles, and poison."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clear_rt.membrane import fill, shift


def solved(samples: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The same interpolation by a dense fp64 solution: every unknown is the mean of its neighbours inside the array."""
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    matrix, right = np.zeros((hole.sum(), hole.sum())), np.zeros(hole.sum())
    height, width = hole.shape
    for y, x in np.argwhere(hole):
        i = number[y, x]
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < height and 0 <= u < width:
                matrix[i, i] += 1
                if hole[v, u]:
                    matrix[i, number[v, u]] -= 1
                else:
                    right[i] += samples[v, u]
    result = samples.astype(np.float64)
    result[hole] = np.linalg.solve(matrix, right)
    return result


shapes = st.tuples(st.integers(1, 21), st.integers(1, 21))


@st.composite
def problems(draw):
    shape = draw(shapes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    hole = rng.random(shape) < draw(st.sampled_from([0.05, 0.3, 0.6, 0.9, 0.99]))
    if draw(st.booleans()):
        hole[:] = False
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        hole[y : y + rng.integers(1, 21), x : x + rng.integers(1, 21)] = True
    return (rng.random(shape) * 255).astype(np.float32), hole


@settings(deadline=None, max_examples=150)
@given(problems())
def test_matches_a_direct_solution(problem):
    samples, hole = problem
    if hole.all():
        return
    expected = solved(samples, hole)
    # A stop at a change of t leaves t * rho / (1 - rho), 2 t at 0.66, the largest rate in 6,000 such problems.
    assert np.abs(fill(samples, hole) - expected).max() <= 3 * 0.25
    assert np.abs(fill(samples, hole, tolerance=1e-3) - expected).max() <= 3e-3 + 255 * 2**-18


@settings(deadline=None)
@given(problems())
def test_outside_is_untouched_and_inside_is_never_read(problem):
    samples, hole = problem
    poisoned = np.where(hole, np.float32(np.nan), samples)
    before = poisoned.copy()
    filled = fill(poisoned, hole)
    np.testing.assert_array_equal(filled[~hole], samples[~hole])
    np.testing.assert_array_equal(poisoned, before)
    np.testing.assert_array_equal(filled, fill(np.where(hole, np.float32(np.inf), samples), hole))
    assert np.isfinite(filled).all()
    assert filled.dtype == np.float32


@settings(deadline=None)
@given(problems())
def test_maximum_principle(problem):
    samples, hole = problem
    if hole.all():
        return
    known = samples[~hole]
    filled = fill(samples, hole, tolerance=1e-3)
    assert known.min() - 5e-3 <= filled.min()
    assert filled.max() <= known.max() + 5e-3


@settings(deadline=None, max_examples=20)
@given(st.integers(40, 130), st.integers(40, 200), st.integers(0, 2**32 - 1))
def test_a_ramp_stays_a_ramp(height, width, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    ramp = (255 * (y / height * rng.random() + x / width) / 2).astype(np.float32)
    hole = np.zeros((height, width), bool)
    for _ in range(4):
        top, left = rng.integers(1, height - 2), rng.integers(1, width - 2)
        hole[top : min(top + 30, height - 1), left : min(left + 60, width - 1)] = True
    assert np.abs(fill(np.where(hole, 0, ramp).astype(np.float32), hole) - ramp).max() < 0.5


@pytest.mark.parametrize("shape", [(1, 17), (17, 1), (33, 33), (17, 3), (65, 129), (2, 64)])
def test_hole_up_to_the_edges_carries_one_value_everywhere(shape):
    hole = np.ones(shape, bool)
    hole[shape[0] // 2, shape[1] // 2] = False
    samples = np.where(hole, np.float32(np.nan), np.float32(37.0))
    np.testing.assert_allclose(fill(samples, hole, tolerance=1e-3), 37.0, atol=0.02)


@pytest.mark.parametrize("length", [5, 16, 17, 33, 127, 128])
def test_one_row_is_a_straight_line(length):
    samples, hole = np.zeros((1, length), np.float32), np.ones((1, length), bool)
    samples[0, -1] = 200
    hole[0, [0, -1]] = False
    np.testing.assert_allclose(fill(samples, hole, tolerance=1e-3)[0], np.linspace(0, 200, length), atol=0.05)


def test_empty_and_total_holes():
    samples = np.arange(12, dtype=np.float32).reshape(3, 4)
    filled = fill(samples, np.zeros((3, 4), bool))
    np.testing.assert_array_equal(filled, samples)
    assert filled is not samples
    everything = np.ones((3, 4), bool)
    assert (fill(samples, everything) == 128).all()
    assert (fill(samples * np.float32(np.nan), everything, blank=512) == 512).all()


def test_planes_that_share_a_hole_are_filled_alike_and_views_are_accepted():
    rng = np.random.default_rng(3)
    planes = (rng.random((3, 40, 50)) * 255).astype(np.float32)
    hole = rng.random((40, 50)) < 0.4
    together = fill(planes, hole, tolerance=1e-3)
    for i in range(3):
        np.testing.assert_allclose(together[i], fill(planes[i], hole, tolerance=1e-3), atol=4e-3)
    turned = fill(np.rot90(planes[0]), np.rot90(hole), tolerance=1e-3)
    np.testing.assert_allclose(np.rot90(turned, -1), together[0], atol=8e-3)


@settings(deadline=None, max_examples=40)
@given(problems(), hnp.arrays(np.float32, (), elements=st.floats(-60, 60, width=16)))
def test_shift_undoes_a_constant_error_and_keeps_detail(problem, error):
    source, hole = problem
    moved = shift(source + error, source, hole)
    np.testing.assert_array_equal(moved[~hole], source[~hole])
    expected = source + error if hole.all() else source
    np.testing.assert_allclose(moved[hole], expected[hole], atol=1.0)


def test_shift_never_reads_the_source_under_the_hole():
    rng = np.random.default_rng(5)
    source, generated = (rng.random((2, 30, 44)) * 255).astype(np.float32)
    hole = np.zeros((30, 44), bool)
    hole[5:25, 3:40] = True
    clean = shift(generated, source, hole)
    np.testing.assert_array_equal(shift(generated, np.where(hole, np.float32(np.nan), source), hole), clean)
    np.testing.assert_allclose(
        clean - generated, fill(source - generated, hole) * hole + (source - generated) * ~hole, atol=1e-3
    )


@pytest.mark.parametrize(("samples", "hole"), [((4, 5), (5, 4)), ((5,), (5,)), ((1, 1, 4, 4), (4, 4))])
def test_shapes_that_disagree_are_refused(samples, hole):
    with pytest.raises(ValueError, match="expected samples"):
        fill(np.zeros(samples, np.float32), np.zeros(hole, bool))
