"""The eight ways a stored picture can be shown, from a display matrix, as free numpy views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CLOCKWISE_DEGREES = {
    (False, False, False): 0,
    (True, True, False): 90,
    (False, True, True): 180,
    (True, False, True): 270,
}


@dataclass(frozen=True, slots=True)
class Orientation:
    """Stored to upright: transpose first, then reverse columns (`flip_x`) and rows (`flip_y`)."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @staticmethod
    def from_matrix(matrix: Sequence[int]) -> Orientation:
        """From FFmpeg's display matrix: 9 integers, row-major; other angles go to the nearest quarter turn."""
        a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
        if abs(b) + abs(c) > abs(a) + abs(d):
            return Orientation(True, c < 0, b < 0)
        return Orientation(False, a < 0, d < 0)

    @property
    def mirrored(self) -> bool:
        """True where a rotation alone does not do; the picture is mirrored left-right after the rotation."""
        return (self.transpose, self.flip_x, self.flip_y) not in _CLOCKWISE_DEGREES

    @property
    def rotation_degrees(self) -> int:
        """Clockwise turn 0, 90, 180 or 270 that brings the stored picture upright (before the mirroring, if any)."""
        return _CLOCKWISE_DEGREES[self.transpose, self.flip_x != self.mirrored, self.flip_y]

    def upright(self, stored: NDArray[Any]) -> NDArray[Any]:
        """View of `stored` [H, W, ...] as it is shown. No copy."""
        view = np.swapaxes(stored, 0, 1) if self.transpose else stored
        return view[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
