"""Pure integer arithmetic of boxes, in pixels of the upright picture. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

LONGEST_SIDE_RATIO = 4


class Size(NamedTuple):
    """Width and height, in pixels, of a picture or a shape profile."""

    width_px: int
    height_px: int


def round_up(value: int, multiple: int) -> int:
    """Smallest multiple of `multiple` that is >= `value`."""
    return -(-value // multiple) * multiple


def round_down(value: int, multiple: int) -> int:
    """Largest multiple of `multiple` that is <= `value`."""
    return value // multiple * multiple


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A rectangle: columns x_px .. x_px+width_px, rows y_px .. y_px+height_px (exclusive ends)."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int

    @property
    def right_px(self) -> int:
        return self.x_px + self.width_px

    @property
    def bottom_px(self) -> int:
        return self.y_px + self.height_px

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices for an array [H, W]."""
        return slice(self.y_px, self.bottom_px), slice(self.x_px, self.right_px)

    def union(self, other: Box) -> Box:
        """Smallest box that holds both."""
        x, y = min(self.x_px, other.x_px), min(self.y_px, other.y_px)
        return Box(x, y, max(self.right_px, other.right_px) - x, max(self.bottom_px, other.bottom_px) - y)

    def intersects(self, other: Box) -> bool:
        """True where the two share at least one pixel."""
        return (
            self.x_px < other.right_px
            and other.x_px < self.right_px
            and self.y_px < other.bottom_px
            and other.y_px < self.bottom_px
        )

    def common(self, other: Box) -> Box | None:
        """What lies in both, None where nothing does."""
        x, y = max(self.x_px, other.x_px), max(self.y_px, other.y_px)
        right, bottom = min(self.right_px, other.right_px), min(self.bottom_px, other.bottom_px)
        return Box(x, y, right - x, bottom - y) if x < right and y < bottom else None

    def within(self, outer: Box) -> Box:
        """The same rectangle, counted from the corner of another one."""
        return Box(self.x_px - outer.x_px, self.y_px - outer.y_px, self.width_px, self.height_px)

    def clipped(self, picture: Size) -> Box | None:
        """The part inside a picture, None where there is none."""
        return self.common(whole(picture))


class Fit(NamedTuple):
    """A box placed for a shape profile: `box` lies inside the picture and, times `scale`, inside `profile`."""

    profile: Size
    box: Box
    scale: Fraction


def whole(picture: Size) -> Box:
    """The box of a whole picture."""
    return Box(0, 0, *picture)


def grow(box: Box, margin_x_px: int, margin_y_px: int, picture: Size) -> Box:
    """`box`, which lies at least partly in the picture, grown by a margin on every side and clamped at its edges."""
    grown = Box(
        box.x_px - margin_x_px, box.y_px - margin_y_px, box.width_px + 2 * margin_x_px, box.height_px + 2 * margin_y_px
    )
    return _inside(grown, picture)


def snap(box: Box, multiple_px: int, picture: Size) -> Box:
    """`box` grown outwards until its edges are multiples of `multiple_px` or edges of the picture."""
    x, y = round_down(box.x_px, multiple_px), round_down(box.y_px, multiple_px)
    right, bottom = round_up(box.right_px, multiple_px), round_up(box.bottom_px, multiple_px)
    return _inside(Box(x, y, right - x, bottom - y), picture)


def rescale(box: Box, source: Size, target: Size) -> Box:
    """`box` of a picture of size `source` in the same picture at size `target`, rounded outwards, inside `target`."""
    x, right = _rescaled(box.x_px, box.right_px, source.width_px, target.width_px)
    y, bottom = _rescaled(box.y_px, box.bottom_px, source.height_px, target.height_px)
    return _inside(Box(x, y, right - x, bottom - y), target)


def plane_box(box: Box, step_x_px: int, step_y_px: int) -> Box:
    """Samples of a plane subsampled by the steps that cover any part of `box`."""
    x, y = box.x_px // step_x_px, box.y_px // step_y_px
    return Box(x, y, -(-box.right_px // step_x_px) - x, -(-box.bottom_px // step_y_px) - y)


def inner_box(box: Box, step_x_px: int, step_y_px: int) -> Box | None:
    """Samples of a plane subsampled by the steps that stand for pixels of `box` only, None where none do."""
    x, y = -(-box.x_px // step_x_px), -(-box.y_px // step_y_px)
    right, bottom = box.right_px // step_x_px, box.bottom_px // step_y_px
    return Box(x, y, right - x, bottom - y) if x < right and y < bottom else None


def working_size(width_px: int, height_px: int, short_side_px: int = 360) -> Size:
    """Size at which the prior network sees a picture: even, the short side `short_side_px`, the aspect kept.

    The long side ends at four times the short one, where the aspect is given up (16x4320 becomes 360x1440).
    Raises ValueError for an empty picture or a short side below 2.
    """
    if min(width_px, height_px) < 1 or short_side_px < 2:
        raise ValueError(f"expected a picture and a short side >= 2, got {width_px}x{height_px} and {short_side_px}")
    short = short_side_px // 2 * 2
    shortest, longest = sorted((width_px, height_px))
    long = max(short, min(round(Fraction(short * longest, 2 * shortest)) * 2, LONGEST_SIDE_RATIO * short))
    return Size(long, short) if width_px > height_px else Size(short, long)


def outline_size(width_px: int, height_px: int, short_side_px: int, outline_side_px: int) -> Size:
    """Size at which text is outlined once it is found: the picture's own, brought down to a short side of
    `outline_side_px`, and up to `short_side_px`, at which text is looked for.

    Its aspect ends where that of `working_size` does. Raises as `working_size`.
    """
    shortest, longest = sorted((width_px, height_px))
    if short_side_px <= shortest <= outline_side_px and longest <= LONGEST_SIDE_RATIO * shortest:
        return Size(width_px, height_px)
    return working_size(width_px, height_px, min(max(shortest, short_side_px), outline_side_px))


def fit_profile(box: Box, picture: Size, profiles: Sequence[Size]) -> Fit:
    """Smallest profile that holds `box`, and the box grown around its centre to the profile, inside the picture.

    Where no profile holds it, the one that needs the least shrinking, `scale` < 1 and the box grown to the profile's
    aspect. A profile larger than the picture gives a box as large as the picture allows: the caller pads. Raises
    ValueError where there is no profile or the box does not lie inside the picture.
    """
    if not profiles or box.clipped(picture) != box:
        raise ValueError(f"expected profiles and a box inside {picture}, got {list(profiles)} and {box}")
    profile = min(profiles, key=lambda size: (-_scale(box, size), size.width_px * size.height_px, size))
    scale = _scale(box, profile)
    width = min(max(floor(profile.width_px / scale), box.width_px), picture.width_px)
    height = min(max(floor(profile.height_px / scale), box.height_px), picture.height_px)
    x = _centred(box.x_px, box.width_px, width, picture.width_px)
    y = _centred(box.y_px, box.height_px, height, picture.height_px)
    return Fit(profile, Box(x, y, width, height), scale)


def fit_multiple(box: Box, picture: Size, multiple_px: int, max_pixels: int) -> Fit:
    """As `fit_profile`, where every size is allowed whose sides are multiples and whose area is at most `max_pixels`.

    Raises ValueError where one multiple by one is more than that, or the box does not lie inside the picture.
    """
    if max_pixels < multiple_px * multiple_px:
        raise ValueError(f"expected max_pixels of at least {multiple_px} squared, got {max_pixels}")
    widest = min(round_up(box.width_px, multiple_px), round_down(max_pixels // multiple_px, multiple_px))
    profiles = []
    for width in range(multiple_px, widest + 1, multiple_px):
        tallest = round_down(max_pixels // width, multiple_px)
        needed = ceil(box.height_px * min(Fraction(1), Fraction(width, box.width_px)))
        profiles.append(Size(width, min(round_up(needed, multiple_px), tallest)))
    return fit_profile(box, picture, profiles)


def _scale(box: Box, profile: Size) -> Fraction:
    return min(Fraction(1), Fraction(profile.width_px, box.width_px), Fraction(profile.height_px, box.height_px))


def _centred(start: int, length: int, grown: int, limit: int) -> int:
    """Start of a stretch of `grown` around the middle of `start`..`start + length`, inside 0..`limit`."""
    return min(max(start - (grown - length) // 2, 0), limit - grown)


def _rescaled(start: int, stop: int, source: int, target: int) -> tuple[int, int]:
    return floor(Fraction(start * target, source)), ceil(Fraction(stop * target, source))


def _inside(box: Box, picture: Size) -> Box:
    inside = box.clipped(picture)
    if inside is None:
        raise ValueError(f"expected a box that lies partly inside {picture}, got {box}")
    return inside
