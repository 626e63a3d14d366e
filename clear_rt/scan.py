"""The first pass: every frame is decoded, some are looked at, and what comes of it is where and when there is text."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from clear_rt import frames
from clear_rt.config import RegionConfig
from clear_rt.external_mask import masks
from clear_rt.matting import looked, queue_frames
from clear_rt.prior import Prior
from clear_rt.regions import RegionFinder, RegionRun, Scan, cut_runs
from clear_rt.report import Stopwatch
from clear_rt.shapes import Size
from clear_rt.signs_sieve import Sieve
from clear_rt.telling import Progress
from clear_rt.threads import ahead

_LONG_AGO_US = -(1 << 62)


@dataclass(frozen=True, slots=True)
class Scanned:
    """The runs of a video, and when its frames are shown: `times_us` of each, in microseconds.

    `signs` are what was left alone, in the same form.
    """

    runs: tuple[RegionRun, ...]
    times_us: Sequence[int]
    end_us: int
    signs: tuple[RegionRun, ...] = ()

    @property
    def frames(self) -> int:
        return len(self.times_us)

    @property
    def duration_us(self) -> int:
        return self.end_us - self.times_us[0] if self.frames else 0

    @property
    def intervals_us(self) -> tuple[tuple[int, int], ...]:
        """When the text of each run is shown, from the first frame on, the end excluded."""
        return tuple(map(self.interval_us, self.runs))

    def interval_us(self, run: RegionRun) -> tuple[int, int]:
        """When the frames of a run or a sign are shown, from the first frame on, the end excluded."""
        return self._since_first(run.start_frame), self._since_first(run.stop_frame)

    def _since_first(self, frame: int) -> int:
        return (self.times_us[frame] if frame < self.frames else self.end_us) - self.times_us[0]


def scan(
    info: frames.VideoInfo, prior: Prior, working: Size, config: RegionConfig, watch: Stopwatch, tell: Progress
) -> Scanned:
    """Looks for text in `info`; `tell("looking for text", done, total or None)` counts frames.

    Raises what reading the video or its mask raises, EngineError, and ConfigError as `RegionFinder`.
    """
    picture = Size(info.width_px, info.height_px)
    finder = RegionFinder(config, picture)
    sieve = Sieve(config, picture, working) if config.leaves_signs else None
    spans = _Spans(config)
    due = _Due(config, spans)
    times_us = array("q")
    reading = watch.each(looked(info, working, due), "scan: decode")
    with ExitStack() as stack:
        pictures = stack.enter_context(closing(ahead(reading, queue_frames(info))))
        given = None if config.mask is None else stack.enter_context(closing(masks(config.mask, working)))
        for frame, rgb in watch.each(pictures, "scan: wait"):
            times_us.append(frame.time_us)
            spans.add(frame.index, frame.time_us)
            found = None if given is None else next(given)
            if rgb is not None:
                with watch.stage("scan: prior"):
                    occlusion = prior(rgb) if found is None else found
                with watch.stage("scan: regions"):
                    seen = Scan(frame.index, frame.time_us, occlusion)
                    for ready in [seen] if sieve is None else sieve.add(seen, rgb):
                        finder.add(ready)
                tell("looking for text", len(times_us), info.frames_estimate)
    tell("looking for text", len(times_us), len(times_us))
    end_us, stretches = _end_us(info, times_us), spans.stretches(len(times_us))
    for ready in [] if sieve is None else sieve.finish(end_us):
        finder.add(ready)
    runs = cut_runs(finder.finish(len(times_us)), stretches)
    signs = cut_runs([] if sieve is None else sieve.signs(len(times_us)), stretches)
    return Scanned(tuple(runs), times_us, end_us, tuple(signs))


class _Due:
    """Which frames are looked at: one every interval within the times asked for; with a mask, all of them."""

    def __init__(self, config: RegionConfig, spans: _Spans) -> None:
        self._interval_us = 0 if config.mask else config.scan_interval_us
        self._spans, self._due_us = spans, _LONG_AGO_US

    def __call__(self, frame: frames.Frame) -> bool:
        if frame.time_us < self._due_us or not self._spans.hold(frame.time_us):
            return False
        self._due_us = frame.time_us + self._interval_us
        return True


class _Spans:
    """The times asked for, which count from the video's first frame, and the stretches of frames within them."""

    def __init__(self, config: RegionConfig) -> None:
        self._times = config.times
        self._first_us: int | None = None
        self._begun: int | None = None
        self._stretches: list[range] = []

    def hold(self, time_us: int) -> bool:
        # Whoever asks first asks about the first frame: a recording may begin with packets nobody can decode.
        self._first_us = time_us if self._first_us is None else self._first_us
        at_us = time_us - self._first_us
        return not self._times or any(start <= at_us and (stop is None or at_us < stop) for start, stop in self._times)

    def add(self, index: int, time_us: int) -> None:
        """Takes the frames in order."""
        if self.hold(time_us):
            self._begun = index if self._begun is None else self._begun
        elif self._begun is not None:
            self._stretches.append(range(self._begun, index))
            self._begun = None

    def stretches(self, total_frames: int) -> list[range]:
        """All of a video of so many frames."""
        last = [] if self._begun is None else [range(self._begun, total_frames)]
        return self._stretches + last


def _end_us(info: frames.VideoInfo, times_us: Sequence[int]) -> int:
    """When the last frame ends: as long after it as it came after the one before."""
    if len(times_us) < 2:
        return (times_us[0] if times_us else 0) + round(1_000_000 / info.rate)
    return 2 * times_us[-1] - times_us[-2]
