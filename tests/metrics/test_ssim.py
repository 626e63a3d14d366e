"""SSIM against the definition, window by window in float64."""

import numpy as np
import pytest

from clear_rt.metrics.ssim import LEAST_MS_SSIM_PX, similarity, ssim, ssim_within


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


def pictures(height_px, width_px, deviation):
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:height_px, :width_px]
    a = np.stack([columns % 256, rows % 256, (rows + columns) // 2 % 256], -1).astype(np.uint8)
    return a, np.clip(a + random.normal(0, deviation, a.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "deviation", "expected"),
    # Of torchmetrics 1.9.0, multiscale_structural_similarity_index_measure of the luma in float64, data_range=255.
    [((176, 176), 90, 0.32712953735829825), ((177, 333), 60, 0.4722233319363377), ((360, 640), 5, 0.981682348598644)],
)
def test_ms_ssim_is_that_of_torchmetrics(size, deviation, expected):
    assert similarity(*pictures(*size, deviation)).ms_ssim == pytest.approx(expected, abs=1e-7)


def test_both_figures_of_identical_opposite_and_small_pictures():
    a, b = pictures(LEAST_MS_SSIM_PX, LEAST_MS_SSIM_PX + 1, 20)
    assert similarity(a, a) == pytest.approx((1.0, 1.0))
    assert similarity(a, 255 - a).ms_ssim == 0.0
    assert similarity(a, b).ssim == ssim(a, b)
    assert similarity(a[:-1], b[:-1]) == (ssim(a[:-1], b[:-1]), None)


def test_inside_a_mask_only_its_windows_count():
    a = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    b, mask = a.copy(), np.zeros((40, 60), bool)
    b[20:, :] = 255 - b[20:, :]
    mask[:15] = True
    whole, inside = ssim_within(a, b, mask)
    assert whole == ssim(a, b) < 0.6
    assert inside == pytest.approx(1.0)
    assert ssim_within(a, b, np.zeros_like(mask))[1] is None
    assert ssim_within(a, b, None)[1] is None
