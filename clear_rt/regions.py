"""Where and when there is text: occlusion maps of scanned frames to runs of frames with one box each."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil

import numpy as np
from numpy.typing import NDArray

from clear_rt.config import RegionConfig
from clear_rt.errors import ConfigError
from clear_rt.regions_blobs import Blob, find_blobs
from clear_rt.shapes import Box, Size, grow, rescale, snap, whole


@dataclass(frozen=True, slots=True)
class Scan:
    """A scanned frame: its index in the video, its time, and its occlusion map uint8 [h, w], 255 * probability."""

    index: int
    time_us: int
    occlusion: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, order=True)
class RegionRun:
    """Frames `start_frame` .. `stop_frame` (exclusive) have text in `box`, in pixels of the upright picture.

    What is left alone, a sign, is told of in the same way.
    """

    start_frame: int
    stop_frame: int
    box: Box

    def overlaps(self, other: RegionRun) -> bool:
        """True where the two share at least one frame."""
        return self.start_frame < other.stop_frame and other.start_frame < self.stop_frame


@dataclass(slots=True)
class _Track:
    """Text followed from scan to scan; `stop_frame` is None as long as the latest scan saw it.

    `certain`: one scan saw it clearly, and the scan before saw nothing there; `alone`: and came long before, or never.
    """

    box: Box
    start_frame: int
    seen_scan: int
    seen_us: int
    certain: bool
    alone: bool
    hits: int = 1
    confirmed: bool = False
    stop_frame: int | None = None

    def absorb(self, other: _Track) -> None:
        self.box = self.box.union(other.box)
        self.start_frame = min(self.start_frame, other.start_frame)
        self.seen_scan, self.seen_us = max(self.seen_scan, other.seen_scan), max(self.seen_us, other.seen_us)
        self.hits, self.confirmed = max(self.hits, other.hits), self.confirmed or other.confirmed


class RegionFinder:
    """Takes scans in the order of the video and gives the runs once their number of frames is known.

    Keeps a box per track and one map, that of the last scan. A run begins at the scan before the first that saw it and
    ends with the first that no longer does. Runs that meet in space and time are one. Raises ConfigError where
    one of region.boxes misses the picture.
    """

    def __init__(self, config: RegionConfig, picture: Size) -> None:
        self._config, self._picture = config, picture
        self._enter_level = ceil(255 * config.enter_probability)
        self._stay_level = ceil(255 * config.stay_probability)
        self._fixed = [_fixed_box(box, picture) for box in config.boxes]
        # Where somebody said where text is, one look is enough.
        self._least_scans = 1 if self._fixed or config.mask else config.min_scans
        self._working: Size | None = None
        self._weak: NDArray[np.bool_] | None = None
        self._scans = 0
        self._last_index = -1
        self._last_us: int | None = None
        self._live: list[_Track] = []
        self._ended: list[_Track] = []
        self._unconfirmed: list[_Track] = []

    def add(self, scan: Scan) -> None:
        """Takes the next scan. Raises ValueError where it is not later than the last, or of another size."""
        height, width = scan.occlusion.shape
        if scan.index <= self._last_index or (self._working or (width, height)) != (width, height):
            raise ValueError(
                f"expected a scan of size {self._working} after frame {self._last_index}, "
                f"got {width}x{height} of frame {scan.index}"
            )
        self._working = Size(width, height)
        self._expire(scan.time_us)
        start = max(self._last_index, 0)
        occlusion = self._within(scan.occlusion)
        weak = occlusion >= self._stay_level
        for blob in find_blobs(occlusion, self._enter_level, self._stay_level, is_true=self._config.mask is not None):
            self._follow(blob, start, scan.time_us, self._is_steady(weak, blob.box))
        self._weak = weak
        self._settle(scan.index)
        self._last_index, self._last_us, self._scans = scan.index, scan.time_us, self._scans + 1

    def finish(self, total_frames: int) -> list[RegionRun]:
        """The runs of a video of `total_frames` frames, ordered by their first frame."""
        too_short = self._scans < self._least_scans
        last = self._scans - 1
        live = [t for t in self._live if t.confirmed or too_short or (t.certain and t.seen_scan == last)]
        runs = []
        for track in self._ended + live + (self._unconfirmed if too_short else []):
            stop = total_frames if track.stop_frame is None else min(track.stop_frame, total_frames)
            if track.start_frame < stop:
                runs.append(RegionRun(track.start_frame, stop, self._picture_box(track.box)))
        return merge_runs(runs)

    def _within(self, occlusion: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The map without what lies outside of fixed regions, and in what is to be kept."""
        working = Size(occlusion.shape[1], occlusion.shape[0])
        inside = occlusion
        if self._fixed:
            inside = np.zeros_like(occlusion)
            for box in self._fixed:
                slices = rescale(box, self._picture, working).slices
                inside[slices] = occlusion[slices]
        return without(inside, self._config.keep, self._picture)

    def _is_alone(self, time_us: int) -> bool:
        """Whether no scan shortly before could have seen the same: at the start, and where frames last long."""
        return self._last_us is None or time_us - self._last_us > 1.5 * self._config.scan_interval_us

    def _is_steady(self, weak: NDArray[np.bool_], box: Box) -> bool:
        """Whether the last scan saw the same in `box`."""
        if self._weak is None:
            return False
        now, before = weak[box.slices], self._weak[box.slices]
        either = np.count_nonzero(now | before)
        return bool(np.count_nonzero(now & before) >= self._config.steady_share * either)

    def _expire(self, time_us: int) -> None:
        """Ends tracks that a scan missed and whose gap is now too long to bridge."""
        for track in [*self._live]:
            if track.stop_frame is not None and time_us - track.seen_us > self._config.bridge_us:
                self._live.remove(track)
                self._ended.append(track)

    def _follow(self, blob: Blob, start_frame: int, time_us: int, steady: bool) -> None:
        """Joins `blob` and the tracks it lies on, or starts a track. Weak evidence only keeps seen text alive.

        What moved since the last scan counts as seen for the first time.
        """
        touched = [track for track in self._live if track.box.intersects(blob.box)]
        if not blob.confident:
            for track in touched:
                if track.confirmed and track.stop_frame is None:
                    track.seen_scan, track.seen_us = self._scans, time_us
            return
        certain = blob.certain and not any(track.seen_scan == self._scans - 1 for track in touched)
        found = _Track(blob.box, start_frame, self._scans, time_us, certain, certain and self._is_alone(time_us))
        for track in touched:
            self._live.remove(track)
            if track.seen_scan < self._scans:
                track.hits = track.hits + 1 if steady else 1
            found.absorb(track)
        found.confirmed = found.confirmed or found.hits >= self._least_scans
        self._live.append(found)

    def _settle(self, index: int) -> None:
        """Marks what this scan did not see: unconfirmed tracks are dropped, others wait for their gap to be bridged."""
        for track in [*self._live]:
            if track.seen_scan == self._scans:
                continue
            if track.stop_frame is None:
                track.stop_frame = index + 1
            if not track.confirmed:
                self._live.remove(track)
                if track.alone:
                    self._ended.append(track)
                elif self._scans < self._least_scans:
                    self._unconfirmed.append(track)

    def _picture_box(self, working_box: Box) -> Box:
        assert self._working is not None
        if self._fixed:
            touched = [b for b in self._fixed if rescale(b, self._picture, self._working).intersects(working_box)]
            return reduce(Box.union, touched)
        if self._config.mode == "full":
            return whole(self._picture)
        margin_px = ceil(self._config.margin_share * self._picture.height_px)
        box = rescale(working_box, self._working, self._picture)
        return snap(grow(box, margin_px, margin_px, self._picture), self._config.multiple_px, self._picture)


def without(matte: NDArray[np.uint8], boxes: Sequence[Box], picture: Size) -> NDArray[np.uint8]:
    """A map or matte uint8 [h, w] of the whole `picture` with zeros in `boxes`, which are in the picture's pixels."""
    if not boxes:
        return matte
    kept, working = matte.copy(), Size(matte.shape[1], matte.shape[0])
    for box in boxes:
        if (inside := box.clipped(picture)) is not None:
            kept[rescale(inside, picture, working).slices] = 0
    return kept


def cut_runs(runs: Sequence[RegionRun], stretches: Sequence[range]) -> list[RegionRun]:
    """What of the runs lies within stretches of frames."""
    cut = [
        RegionRun(max(run.start_frame, stretch.start), min(run.stop_frame, stretch.stop), run.box)
        for run in runs
        for stretch in stretches
    ]
    return sorted(run for run in cut if run.start_frame < run.stop_frame)


class Timetable:
    """Which runs a frame lies in, asked for frames in order; its work does not grow with the number of runs."""

    def __init__(self, runs: list[RegionRun]) -> None:
        self._coming = deque(sorted(runs))
        self._now: tuple[RegionRun, ...] = ()

    def at(self, frame: int) -> tuple[RegionRun, ...]:
        """The runs of frame index `frame`, which must not be smaller than any asked for before."""
        while self._coming and self._coming[0].start_frame <= frame:
            self._now += (self._coming.popleft(),)
        if any(run.stop_frame <= frame for run in self._now):
            self._now = tuple(run for run in self._now if run.stop_frame > frame)
        return self._now


def merge_runs(runs: list[RegionRun]) -> list[RegionRun]:
    """Runs that share both a frame and a pixel become one that covers all of them; the result is sorted."""
    while True:
        merged: list[RegionRun] = []
        active: list[RegionRun] = []
        for run in sorted(runs):
            merged += [other for other in active if other.stop_frame <= run.start_frame]
            active = [other for other in active if other.stop_frame > run.start_frame]
            for other in [*active]:
                if other.overlaps(run) and other.box.intersects(run.box):
                    active.remove(other)
                    stop = max(run.stop_frame, other.stop_frame)
                    run = RegionRun(min(run.start_frame, other.start_frame), stop, run.box.union(other.box))
            active.append(run)
        merged += active
        if len(merged) == len(runs):
            return sorted(merged)
        runs = merged


def _fixed_box(box: Box, picture: Size) -> Box:
    clipped = box.clipped(picture)
    if clipped is None:
        raise ConfigError(
            f"--region {box.x_px},{box.y_px},{box.width_px},{box.height_px} holds no pixel of the picture, which is "
            f"{picture.width_px}x{picture.height_px}; give x,y,width,height inside it"
        )
    return clipped
