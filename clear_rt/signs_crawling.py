"""What crawls through one place for long, as tickers do: evidence that stays, of what does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clear_rt.regions import RegionRun
from clear_rt.shapes import Box

# Of the scans in a place; captions outlive a scan, so that of theirs it is one in four at most.
_LEAST_RESTLESS_SHARE = 0.75


class Glimpse(NamedTuple):
    """A piece of evidence that one scan saw and the next did not."""

    box: Box
    start_frame: int
    since_us: int


@dataclass(slots=True)
class _Place:
    """Where one glimpse follows another since `since_us`; the last was over at `last_us`, in `stop_frame`."""

    box: Box
    start_frame: int
    since_us: int
    last_us: int
    stop_frame: int
    scans: int = 0
    restless: int = 0


class CrawlFinder:
    """Follows places in which hardly a piece of evidence outlives a scan. After `least_us` of that a place is a sign.

    It ends where scans see nothing of the kind for `bridge_us`, and where something stays that may be a caption.
    """

    def __init__(self, least_us: int, bridge_us: int) -> None:
        self._least_us, self._bridge_us = least_us, bridge_us
        self._places: list[_Place] = []

    def add(self, glimpses: Iterable[Glimpse], stays: Sequence[Box], frame: int, time_us: int) -> list[RegionRun]:
        """Takes what a scan no longer saw and what lasts in it. Returns the signs that ended with it.

        Boxes are in pixels of the working picture.
        """
        for glimpse in glimpses:
            self._take(_Place(*glimpse, last_us=time_us, stop_frame=frame))
        places, self._places = self._places, []
        ended = []
        for place in places:
            place.scans += 1
            place.restless += place.last_us == time_us
            goes_on = time_us - place.last_us <= self._bridge_us and not any(map(place.box.intersects, stays))
            # A first scan or two may look alike by chance.
            if goes_on and place.restless >= _LEAST_RESTLESS_SHARE * (place.scans - 2):
                self._places.append(place)
            elif self._is_sign(place):
                ended.append(RegionRun(place.start_frame, place.stop_frame, place.box))
        return ended

    def signs(self, total_frames: int) -> list[RegionRun]:
        """Those that go on, in a video of so many frames by now."""
        return [RegionRun(place.start_frame, total_frames, place.box) for place in self._places if self._is_sign(place)]

    def _take(self, place: _Place) -> None:
        """Makes one of it and all places that it touches."""
        for other in [*self._places]:
            if other.box.intersects(place.box):
                self._places.remove(other)
                place.box = place.box.union(other.box)
                place.start_frame = min(place.start_frame, other.start_frame)
                place.since_us = min(place.since_us, other.since_us)
                place.scans, place.restless = max(place.scans, other.scans), max(place.restless, other.restless)
        self._places.append(place)

    def _is_sign(self, place: _Place) -> bool:
        return place.last_us - place.since_us >= self._least_us
