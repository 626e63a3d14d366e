"""Structural similarity of two pictures (Wang et al. 2004): luma, Gaussian window of 11 pixels, sigma 1.5."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.metrics.optional import opencv

UInt8 = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float64]

_LUMA = np.array([0.299, 0.587, 0.114])
_SIDE_PX, _SIGMA_PX = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(picture: UInt8, reference: UInt8) -> float:
    """Mean SSIM of two uint8 [H, W, 3] over the pixels whose whole window lies in the picture (1.0: identical).

    A picture without such a pixel is mirrored at its edges instead.

    Raises:
        ConfigError: OpenCV is not installed.
    """
    a, b = picture @ _LUMA, reference @ _LUMA
    mean_a, mean_b = _smooth(a), _smooth(b)
    variance_a, variance_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    covariance = _smooth(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    bottom = (mean_a**2 + mean_b**2 + _C1) * (variance_a + variance_b + _C2)
    margin_px = _SIDE_PX // 2 if min(a.shape) >= _SIDE_PX else 0
    rows, columns = (slice(margin_px, side - margin_px) for side in a.shape)
    return float((top / bottom)[rows, columns].mean())


def _smooth(values: Float) -> Float:
    cv2 = opencv()
    smoothed: Float = cv2.GaussianBlur(values, (_SIDE_PX, _SIDE_PX), _SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    return smoothed
