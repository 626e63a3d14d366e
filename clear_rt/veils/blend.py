"""What a veil of one colour makes of a picture, from pairs of samples beside and under it.

A veil of opacity 1 - m and colour c makes m x picture + (1 - m) c of a picture: one m for all planes, one summand for
each, as the conversion of colours is linear. Both samples of a pair differ from one another as neighbours in a picture
do; that leaves the ratio of their standard deviations as it is (reduced major axis), where least squares would find an
m that is too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
# Of every plane: the sums of weights, of outer and inner samples, of their squares and of their products.
Moments = npt.NDArray[np.float64]
MOMENTS = 6

_ROUNDS = 6
# Pairs count less the farther they are from the median: edges in the picture, letters that touch the box's edge.
_OUTLIER_MEDIANS, _LEAST_LEVELS = 2.5, 0.5
_FLAT, _LEAST_WEIGHT = 1e-3, 1e-6
# Deviation of samples beside a veil: of less the codec has left little under it.
_TELLING_LEVELS = 4.0


class Pair(NamedTuple):
    """Samples of a plane beside a veil and under it, float32 [n], levels of 8 bits."""

    outer: Floats
    inner: Floats


class Blend(NamedTuple):
    """source = `share` x picture + `added`, levels of 8 bits; one summand for every plane but alpha."""

    share: float
    added: tuple[float, ...]
    correlation: float


def levels_behind(source: Floats, blend: Blend, number: int) -> Floats:
    """Levels of 8 bits of the plane of this number as they are behind a veil."""
    return (source - np.float32(blend.added[number])) / np.float32(blend.share)


def blend_of(moments: Moments) -> Blend | None:
    """None where either side of the pairs is flat: any share would do."""
    weight, outer, inner, outer_square, inner_square, product = moments.T
    weight = np.maximum(weight, _LEAST_WEIGHT)
    outer_spread = float((outer_square - outer * outer / weight).sum())
    inner_spread = float((inner_square - inner * inner / weight).sum())
    if outer_spread < _FLAT or inner_spread < _FLAT:
        return None
    both = float((product - outer * inner / weight).sum())
    share = float(np.sqrt(inner_spread / outer_spread))
    added = (inner - share * outer) / weight
    return Blend(share, tuple(float(level) for level in added), both / float(np.sqrt(outer_spread * inner_spread)))


def moments_of(pairs: Sequence[Pair]) -> Moments | None:
    """Robust sums over the pairs of every plane, by a blend that is found in rounds; None of flat ones and of none."""
    if not pairs:
        return None
    weights: Sequence[Floats] = [np.ones_like(pair.outer) for pair in pairs]
    for _ in range(_ROUNDS):
        moments = _sums(pairs, weights)
        if (blend := blend_of(moments)) is None:
            return None
        weights = _weights(pairs, blend)
    return moments


def moments_near(pairs: Sequence[Pair], blend: Blend) -> Moments:
    """The same by a blend that is known; of flat pairs, too."""
    return _sums(pairs, _weights(pairs, blend))


def is_telling(moments: Moments) -> bool:
    """Whether the picture beside the veil differs enough from place to place to tell a share."""
    weight, outer, _, outer_square, *_ = moments.T
    spread = (outer_square - outer * outer / np.maximum(weight, _LEAST_WEIGHT)).sum() / max(weight.sum(), _LEAST_WEIGHT)
    return bool(spread >= _TELLING_LEVELS**2)


def _weights(pairs: Sequence[Pair], blend: Blend) -> list[Floats]:
    """Tukey's biweight would drop pairs; these only count less and less."""
    misses = [
        np.abs(pair.inner - np.float32(blend.share) * pair.outer - np.float32(added))
        for pair, added in zip(pairs, blend.added, strict=True)
    ]
    scale = np.float32(_OUTLIER_MEDIANS) * np.median(np.concatenate(misses)) + np.float32(_LEAST_LEVELS)
    return [np.square(np.reciprocal(1 + np.square(miss / scale))) for miss in misses]


def _sums(pairs: Sequence[Pair], weights: Sequence[Floats]) -> Moments:
    sums = []
    for pair, weight in zip(pairs, weights, strict=True):
        w, a, b = (values.astype(np.float64) for values in (weight, pair.outer, pair.inner))
        sums.append([w.sum(), (w * a).sum(), (w * b).sum(), (w * a * a).sum(), (w * b * b).sum(), (w * a * b).sum()])
    return np.array(sums)
