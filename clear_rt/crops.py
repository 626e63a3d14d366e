"""Pictures to crops of a shape profile, and what was generated for a crop back to the pixels of a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

from clear_rt.matte_planes import luma_alpha
from clear_rt.shapes import Box, Size, fit_multiple, fit_profile

UInt8 = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a crop lies: the part `box` of the picture scaled to `scaled`, padded at its right and lower edge.

    `target` is the region whose content is wanted, in pixels of the picture of size `picture`; `profile` is the size of
    the padded crop.
    """

    picture: Size
    target: Box
    scaled: Size
    box: Box
    profile: Size

    @property
    def is_scaled(self) -> bool:
        return self.scaled != self.picture

    def cut(self, rgb: UInt8) -> UInt8:
        """The crop uint8 [profile height, width, 3], a copy, of the whole picture at size `scaled`.

        Where the picture ends before the profile does, its last pixels are repeated.
        """
        assert rgb.shape[:2] == (self.scaled.height_px, self.scaled.width_px)
        part = rgb[self.box.slices]
        return np.pad(part, (*self._padding, (0, 0)), mode="edge")

    def cut_alpha(self, matte: UInt8) -> UInt8:
        """The alpha uint8 [profile height, width] of the crop, of a matte of the whole picture at any size."""
        return np.pad(luma_alpha(matte, self.scaled, self.box), self._padding)

    @property
    def _padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns before the box and after it."""
        return (0, self.profile.height_px - self.box.height_px), (0, self.profile.width_px - self.box.width_px)

    def restore(self, generated: Floats) -> Floats:
        """Content float32 [target height, width, 3] from what was generated for the crop, [profile height, width, 3].

        Bilinear between the pixels' centres where the crop was scaled. Padding is never read.
        """
        part = generated[: self.box.height_px, : self.box.width_px]
        if not self.is_scaled:
            rows, columns = self.target.slices
            y, x = self.box.y_px, self.box.x_px
            return part[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        target, box = self.target, self.box
        tall = _resampled(part, target.y_px, target.bottom_px, self.picture.height_px, self.scaled.height_px, box.y_px)
        wide = tall.swapaxes(0, 1)
        wide = _resampled(wide, target.x_px, target.right_px, self.picture.width_px, self.scaled.width_px, box.x_px)
        return wide.swapaxes(0, 1)


def place(target: Box, picture: Size, multiple_px: int, max_pixels: int, profiles: Sequence[Size]) -> Placement:
    """The placement of a region: by `profiles` where there are any, else by multiples of `multiple_px`.

    The crop holds the whole region, but for less than one of its pixels where it is scaled.
    """
    fit = fit_profile(target, picture, profiles) if profiles else fit_multiple(target, picture, multiple_px, max_pixels)
    scaled = Size(_shrunk(picture.width_px, fit.scale), _shrunk(picture.height_px, fit.scale))
    x, width = _stretch(fit.box.x_px, picture.width_px, scaled.width_px, fit.profile.width_px)
    y, height = _stretch(fit.box.y_px, picture.height_px, scaled.height_px, fit.profile.height_px)
    return Placement(picture, target, scaled, Box(x, y, width, height), fit.profile)


def _shrunk(length: int, scale: Fraction) -> int:
    """Rounded down: what fits the profile at the exact scale must not grow beyond it."""
    return max(1, floor(length * scale))


def _stretch(start: int, picture: int, scaled: int, profile: int) -> tuple[int, int]:
    """Start and length of the crop in the scaled picture, as long as the profile where the picture allows."""
    length = min(profile, scaled)
    return min(floor(Fraction(start * scaled, picture)), scaled - length), length


def _resampled(values: Floats, start: int, stop: int, picture: int, scaled: int, offset: int) -> Floats:
    """Rows `start`..`stop` of the picture from rows [n, ...] that begin at row `offset` of the scaled picture."""
    centres = (np.arange(start, stop) + 0.5) * (scaled / picture) - 0.5 - offset
    centres = np.clip(centres, 0, len(values) - 1)
    low = np.minimum(centres.astype(np.intp), max(len(values) - 2, 0))
    high = np.minimum(low + 1, len(values) - 1)
    weight = (centres - low).astype(np.float32).reshape(-1, 1, 1)
    mixed: Floats = values[low] * (1 - weight)
    mixed += values[high] * weight
    return mixed
