"""Frechet distance of two sets of features, each taken for a normal distribution (Dowson and Landau 1982)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# A covariance is that of a sample.
LEAST_VECTORS = 2


class FeatureSum:
    """Mean and covariance of feature vectors, added up in float64; memory is that of one covariance."""

    def __init__(self) -> None:
        self.count = 0
        self._total: Floats | None = None
        self._products: Floats | None = None

    def add(self, features: Floats) -> None:
        """One vector float64 [D]. Raises ValueError where it is no vector, or not as long as those before."""
        if features.ndim != 1 or (self._total is not None and features.shape != self._total.shape):
            expected = "[D]" if self._total is None else self._total.shape
            raise ValueError(f"expected features of {expected}, got {features.shape}")
        products = np.outer(features, features)
        self._total = features.copy() if self._total is None else self._total + features
        self._products = products if self._products is None else self._products + products
        self.count += 1

    def merge(self, other: FeatureSum) -> None:
        """Adds what the other has seen. Raises ValueError where its vectors are of another length."""
        if other._total is None or other._products is None:
            return
        if self._total is None or self._products is None:
            self._total, self._products = other._total.copy(), other._products.copy()
        elif self._total.shape != other._total.shape:
            raise ValueError(f"expected features of {self._total.shape}, got {other._total.shape}")
        else:
            self._total, self._products = self._total + other._total, self._products + other._products
        self.count += other.count

    def moments(self) -> tuple[Floats, Floats] | None:
        """Mean [D] and covariance [D, D], by n - 1; None before two vectors were added."""
        if self.count < LEAST_VECTORS or self._total is None or self._products is None:
            return None
        mean = self._total / self.count
        covariance = (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)
        return mean, covariance


def frechet(one: FeatureSum, other: FeatureSum) -> float | None:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), at least 0; None where either has fewer than two vectors.

    The trace of the root is that of the symmetric (C1^(1/2) C2 C1^(1/2))^(1/2), whose eigenvalues are not negative
    but for rounding: fewer vectors than dimensions are no difficulty.
    """
    first, second = one.moments(), other.moments()
    if first is None or second is None:
        return None
    (mean, covariance), (other_mean, other_covariance) = first, second
    root = _root(covariance)
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_covariance @ root), 0.0)).sum()
    traces = np.trace(covariance) + np.trace(other_covariance)
    return max(float(np.square(mean - other_mean).sum() + traces - 2 * shared), 0.0)


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root
