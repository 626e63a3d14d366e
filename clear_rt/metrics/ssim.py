"""Structural similarity (SSIM: Wang et al. 2004; MS-SSIM: Wang et al. 2003): luma, Gaussian window of 11 pixels, sigma
1.5, constants for 8 bits.

MS-SSIM is that of torchmetrics 1.9.0 (within 1e-8 on the same luma in float64, odd sides included), which takes the
contrast over whole windows and the SSIM of the last scale over the picture mirrored at its edges.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]

_LUMA = np.array([0.299, 0.587, 0.114])
_SIDE_PX, _SIGMA_PX = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Exponents of the five scales, the picture's own first.
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# The smallest picture whose fifth scale still holds a whole window.
LEAST_MS_SSIM_PX = _SIDE_PX * 2 ** (len(_SCALES) - 1)


class Similarity(NamedTuple):
    """1.0 where two pictures are identical; `ms_ssim` is None where a side is below `LEAST_MS_SSIM_PX`."""

    ssim: float
    ms_ssim: float | None


class _Maps(NamedTuple):
    """float64 [H, W] per pixel: SSIM, and its product of contrast and structure alone."""

    ssim: Float
    contrast: Float


def similarity(picture: UInt8, reference: UInt8) -> Similarity:
    """Both figures of two uint8 [H, W, 3]: `ssim`, and MS-SSIM of five scales, each half the one before.

    A scale is the average of 2x2 pixels, a last odd row or column is left out; a negative mean counts as 0.
    """
    a, b = picture @ _LUMA, reference @ _LUMA
    maps = _maps(a, b)
    first = _whole(maps.ssim)
    if min(a.shape) < LEAST_MS_SSIM_PX:
        return Similarity(first, None)
    product = 1.0
    for exponent in _SCALES[:-1]:
        product *= max(_whole(maps.contrast), 0.0) ** exponent
        a, b = _half(a), _half(b)
        maps = _maps(a, b)
    return Similarity(first, product * max(float(maps.ssim.mean()), 0.0) ** _SCALES[-1])


def ssim(picture: UInt8, reference: UInt8) -> float:
    """Mean SSIM of two uint8 [H, W, 3] over the pixels whose whole window lies in the picture (1.0: identical).

    A picture without such a pixel is mirrored at its edges instead.
    """
    return _whole(_maps(picture @ _LUMA, reference @ _LUMA).ssim)


def ssim_within(picture: UInt8, reference: UInt8, mask: Bool | None) -> tuple[float, float | None]:
    """`ssim`, and the mean over the windows whose middle is inside bool [H, W] `mask` (None where there is none); the
    picture is mirrored at its edges for those."""
    found = _maps(picture @ _LUMA, reference @ _LUMA).ssim
    return _whole(found), float(found[mask].mean()) if mask is not None and mask.any() else None


def _maps(a: Float, b: Float) -> _Maps:
    mean_a, mean_b = _smooth(a), _smooth(b)
    variance_a, variance_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    covariance = _smooth(a * b) - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return _Maps((2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1) * contrast, contrast)


def _whole(values: Float) -> float:
    margin_px = _SIDE_PX // 2 if min(values.shape) >= _SIDE_PX else 0
    rows, columns = (slice(margin_px, side - margin_px) for side in values.shape)
    return float(values[rows, columns].mean())


def _half(values: Float) -> Float:
    height_px, width_px = (side // 2 for side in values.shape)
    halved: Float = values[: 2 * height_px, : 2 * width_px].reshape(height_px, 2, width_px, 2).mean(axis=(1, 3))
    return halved


def _smooth(values: Float) -> Float:
    smoothed: Float = cv2.GaussianBlur(values, (_SIDE_PX, _SIDE_PX), _SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    return smoothed
