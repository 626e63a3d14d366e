"""Pure integer arithmetic of boxes, in pixels of the upright picture. No arrays, no imports beyond the standard library."""

from __future__ import annotations

from dataclasses import dataclass


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
