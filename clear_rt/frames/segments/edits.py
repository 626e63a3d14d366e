"""Which frames of a video may differ from the source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edits:
    """`ranges` of frame indices (start, stop exclusive), in any order, of a video of `total_frames`."""

    total_frames: int
    ranges: tuple[tuple[int, int], ...]

    def touch(self, start_frame: int, stop_frame: int) -> bool:
        """Whether any frame of `start_frame` .. `stop_frame` (exclusive) may differ."""
        return any(start < stop_frame and start_frame < stop for start, stop in self.ranges)
