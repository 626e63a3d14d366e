"""The distance against its closed form, and against a root of the product by other means."""

import numpy as np
import pytest

from clear_rt.metrics.frechet import FeatureSum, frechet


def summed(vectors):
    total = FeatureSum()
    for vector in vectors:
        total.add(vector)
    return total


def definition(a, b):
    """By the eigenvalues of the product, which is not symmetric."""
    one, other = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.linalg.eigvals(one @ other).astype(complex)).real.sum()
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(one) + np.trace(other) - 2 * roots


@pytest.mark.parametrize(("count", "width"), [(50, 4), (9, 8), (400, 30)])
def test_equals_the_definition(count, width):
    random = np.random.default_rng(count)
    mixing = random.normal(size=(width, width))
    a, b = random.normal(size=(count, width)) @ mixing, 1 + 2 * random.normal(size=(count + 3, width))
    assert frechet(summed(a), summed(b)) == pytest.approx(definition(a, b), rel=1e-6)


def test_of_one_dimension_it_is_that_of_means_and_deviations():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([10.0, 14.0, 18.0])
    found = frechet(summed(a[:, None]), summed(b[:, None]))
    assert found == pytest.approx((14 - 2) ** 2 + (4 - 1) ** 2)


def test_fewer_vectors_than_dimensions():
    random = np.random.default_rng(0)
    a = random.normal(size=(3, 40))
    assert frechet(summed(a), summed(a)) == pytest.approx(0.0, abs=1e-5)
    shifted = frechet(summed(a), summed(a + 0.5))
    assert shifted == pytest.approx(40 * 0.25, abs=1e-5)


def test_below_two_vectors_there_is_none():
    one = summed(np.ones((1, 4)))
    assert frechet(one, summed(np.eye(4))) is frechet(FeatureSum(), one) is None


def test_merged_sums_are_one_sum():
    vectors = np.random.default_rng(0).normal(size=(12, 5))
    merged = FeatureSum()
    merged.merge(FeatureSum())
    for part in (vectors[:2], vectors[2:7], vectors[7:]):
        merged.merge(summed(part))
    whole = summed(vectors)
    assert merged.count == whole.count == 12
    for mine, its in zip(merged.moments(), (vectors.mean(0), np.cov(vectors.T)), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-12)
    with pytest.raises(ValueError, match="expected features"):
        merged.merge(summed(np.ones((2, 4))))
    with pytest.raises(ValueError, match="expected features"):
        whole.add(np.ones((5, 1)))
