"""Where moving text is at a point in time. Speeds are shares of the picture's width a second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

MotionName = Literal["still", "crawl", "slide", "rise", "drift"]
_DRIFT_PERIOD_US = 6_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """`crawl` runs in at the right edge and out at the left one, over and over. `slide` comes in from the left edge and
    `rise` from the lower one within `enter_us`, and they leave the same way. `drift` sways along the line.
    `shutter_us` is how long a frame is exposed: moving text is smeared over what it moves in that time.
    """

    kind: MotionName = "still"
    speed_share: float = 0.15
    enter_us: int = 400_000
    shutter_us: int = 0


class Place(NamedTuple):
    """The corner of something in the picture, in pixels."""

    x_px: float
    y_px: float


class Extent(NamedTuple):
    """What moves and what it moves in: the corner at rest, its size, and the picture's."""

    rest: Place
    width_px: int
    height_px: int
    picture_width_px: int
    picture_height_px: int


def place(motion: Motion, extent: Extent, since_us: int, left_us: int) -> Place:
    """The corner `since_us` after a caption appeared and `left_us` before it goes."""
    rest, outside = extent.rest, 1 - _share_inside(motion, since_us, left_us)
    if motion.kind == "crawl":
        way_px = extent.picture_width_px + extent.width_px
        run_px = motion.speed_share * extent.picture_width_px * since_us / 1_000_000
        return Place(extent.picture_width_px - run_px % way_px, rest.y_px)
    if motion.kind == "slide":
        return Place(rest.x_px - outside * (rest.x_px + extent.width_px), rest.y_px)
    if motion.kind == "rise":
        return Place(rest.x_px, rest.y_px + outside * (extent.picture_height_px - rest.y_px))
    if motion.kind == "drift":
        # The fastest moment of a sine of this width and period has the speed asked for.
        reach_px = motion.speed_share * extent.picture_width_px * _DRIFT_PERIOD_US / 1_000_000 / math.tau
        return Place(rest.x_px + reach_px * math.sin(math.tau * since_us / _DRIFT_PERIOD_US), rest.y_px)
    return rest


def travel(motion: Motion, extent: Extent, since_us: int, left_us: int) -> tuple[float, float]:
    """Pixels moved, right and down, while the shutter is open around that time; none where a crawl begins anew."""
    half_us = motion.shutter_us // 2
    if motion.kind == "still" or half_us == 0:
        return 0.0, 0.0
    before = place(motion, extent, max(since_us - half_us, 0), left_us + half_us)
    after = place(motion, extent, since_us + half_us, max(left_us - half_us, 0))
    moved = after.x_px - before.x_px, after.y_px - before.y_px
    return moved if abs(moved[0]) < extent.picture_width_px / 2 else (0.0, 0.0)


def _share_inside(motion: Motion, since_us: int, left_us: int) -> float:
    """0 at either end of the caption, 1 from `enter_us` on; slower towards its place."""
    share = min(since_us, left_us, motion.enter_us) / motion.enter_us if motion.enter_us > 0 else 1.0
    return 1 - (1 - share) ** 2
