"""What a veil makes of a picture, from pairs that differ as neighbours do."""

from __future__ import annotations

import numpy as np
import pytest

from clear_rt.veils.blend import Pair, blend_of, levels_behind, moments_near, moments_of


def pairs_of(share, added, *, count=2000, natural=8.0, seed=0):
    """Of a plane each: outer and inner sample of a pair are neighbours in a picture of deviation 40."""
    rng = np.random.default_rng(seed)
    pairs = []
    for level in added:
        scene = rng.normal(120, 40, count)
        outer, inner = (scene + rng.normal(0, natural, count) for _ in range(2))
        pairs.append(Pair(outer.astype(np.float32), (share * inner + level).astype(np.float32)))
    return pairs


def spread_of(share, correlation, count):
    """Standard deviation of a ratio of standard deviations, from so many pairs."""
    return share * np.sqrt((1 - correlation**2) / count)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("natural", [0.0, 8.0, 60.0])
def test_the_share_is_found_however_far_neighbours_differ(share, natural):
    """Least squares would find share x 1600 / (1600 + natural^2)."""
    added = (12.0, 60.0, 64.0)
    blend = blend_of(moments_of(pairs_of(share, added, natural=natural)))
    most = 5 * spread_of(share, blend.correlation, 3 * 2000) + 1e-3
    assert abs(blend.share - share) < most
    # Where the picture is as it is in the mean, at 120, the summand is wrong by what the share is.
    natural_share = np.sqrt(2) * share * natural / np.sqrt(2000)
    for found, level in zip(blend.added, added, strict=True):
        assert abs(found - level) < 120 * most + 5 * natural_share + 0.01


def test_equal_weights_are_the_reduced_major_axis():
    pairs = pairs_of(0.5, (12.0,), natural=0.0)
    outer, inner = (side.astype(np.float64) for side in pairs[0])
    blend = blend_of(moments_of(pairs))
    assert blend.share == pytest.approx(inner.std() / outer.std(), rel=1e-4)
    assert blend.added[0] == pytest.approx(inner.mean() - blend.share * outer.mean(), abs=0.01)


def test_a_fifth_of_the_pairs_may_be_anything():
    """Letters that touch the edge, edges of the picture."""
    clean = blend_of(moments_of(pairs_of(0.5, (12.0,))))
    pairs = pairs_of(0.5, (12.0,))
    pairs[0].inner[::5] = 255
    dirty = blend_of(moments_of(pairs))
    assert dirty.share == pytest.approx(clean.share, rel=0.06)
    assert levels_behind(np.float32(72), dirty, 0) == pytest.approx(120, abs=4)


def test_a_flat_picture_tells_no_share():
    flat = np.full(100, 90, np.float32)
    assert moments_of([Pair(flat, flat / 2)]) is None
    assert moments_of([Pair(flat + np.arange(100, dtype=np.float32), flat)]) is None


def test_outliers_are_told_by_a_blend_that_is_known():
    known = blend_of(moments_of(pairs_of(0.5, (12.0,))))
    other = blend_of(moments_near(pairs_of(0.5, (12.0,), count=100, seed=1), known))
    assert other.share == pytest.approx(known.share, abs=5 * spread_of(0.5, other.correlation, 100))


def test_levels_come_back():
    blend = blend_of(moments_of(pairs_of(0.5, (12.0, 60.0), natural=0.0)))
    source = np.array([12, 72, 139.5], np.float32)
    np.testing.assert_allclose(levels_behind(source, blend, 0), [0, 120, 255], atol=0.5)
