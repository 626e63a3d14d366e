"""SSIM against the definition, window by window in float64."""

import numpy as np
import pytest

from clear_rt.metrics.ssim import ssim


def definition(a, b):
    a, b = (picture @ np.array([0.299, 0.587, 0.114]) for picture in (a, b))
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    values = []
    for row, column in np.ndindex(a.shape[0] - 10, a.shape[1] - 10):
        x, y = a[row : row + 11, column : column + 11], b[row : row + 11, column : column + 11]
        mx, my = (x * window).sum(), (y * window).sum()
        vx, vy = ((x - mx) ** 2 * window).sum(), ((y - my) ** 2 * window).sum()
        cov = ((x - mx) * (y - my) * window).sum()
        values.append((2 * mx * my + 6.5025) * (2 * cov + 58.5225) / ((mx**2 + my**2 + 6.5025) * (vx + vy + 58.5225)))
    return np.mean(values)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (19, 23, 3), np.uint8)
    b = np.clip(a + rng.normal(0, 30, a.shape), 0, 255).astype(np.uint8)
    assert ssim(a, b) == pytest.approx(definition(a, b), abs=1e-9)


def test_identical_opposite_and_tiny():
    a = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert ssim(a, a) == pytest.approx(1.0)
    assert ssim(a, 255 - a) < 0
    assert ssim(a[:3, :4], a[:3, :4]) == pytest.approx(1.0)
    assert ssim(a[:1, :1], 255 - a[:1, :1]) < 1
