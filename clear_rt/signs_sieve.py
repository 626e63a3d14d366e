"""Scans are held back until it is known what in them is a sign, and are handed on without."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_rt.config import RegionConfig
from clear_rt.regions import RegionRun, Scan
from clear_rt.shapes import Size
from clear_rt.signs import SignFinder


class _Held(NamedTuple):
    """A scan whose map is packed: twelve seconds of maps are 60 or more, and most of each is zero."""

    frame: int
    time_us: int
    packed: bytes


class Sieve:
    """Takes scans with their working pictures in the order of the video; gives them back in that order, `sign_us` late.

    Where there is a sign the maps it gives are zero: it begins no run and widens none.
    """

    def __init__(self, config: RegionConfig, picture: Size, working: Size) -> None:
        self._finder = SignFinder(config, picture, working)
        self._sign_us, self._working = config.sign_us, working
        self._held: deque[_Held] = deque()

    def add(self, scan: Scan, rgb: NDArray[np.uint8]) -> list[Scan]:
        """`rgb` uint8 [h, w, 3] is what the scan's map was made of. Returns what can be told by now."""
        self._finder.add(scan, rgb)
        self._held.append(_Held(scan.index, scan.time_us, zlib.compress(scan.occlusion.tobytes(), level=1)))
        return list(self._released(scan.time_us - self._sign_us))

    def finish(self, end_us: int) -> list[Scan]:
        """The rest, of a video that ends then."""
        self._finder.finish(end_us)
        return list(self._released(None))

    def signs(self, total_frames: int) -> list[RegionRun]:
        """After `finish`: what was left out, and when; in pixels of the upright picture, sorted by the first frame."""
        return self._finder.signs(total_frames)

    def _released(self, before_us: int | None) -> Iterator[Scan]:
        while self._held and (before_us is None or self._held[0].time_us < before_us):
            frame, time_us, packed = self._held.popleft()
            flat = np.frombuffer(zlib.decompress(packed), np.uint8)
            occlusion = flat.reshape(self._working.height_px, self._working.width_px).copy()
            for box in self._finder.boxes_at(frame):
                occlusion[box.slices] = 0
            yield Scan(frame, time_us, occlusion)
