"""The frames of one video with their mattes: for the pass that writes, and for one that runs ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from clear_rt import frames
from clear_rt.config import MatteConfig, RegionConfig
from clear_rt.leading import Shown
from clear_rt.matte import steady
from clear_rt.prior import Prior
from clear_rt.regions import RegionRun, Timetable
from clear_rt.relay import Relay
from clear_rt.report import Stopwatch
from clear_rt.shapes import Size, grow, rescale
from clear_rt.threads import Stop, ahead

T = TypeVar("T")
UInt8 = npt.NDArray[np.uint8]
Active = tuple[RegionRun, ...]
QUEUE_FRAMES = 8
QUEUE_BYTES = 1 << 26
# Between threads that both take about the same time for every frame.
STEADY_FRAMES = 3
# What the prior sees around a region that the user drew tightly, in pixels of the working picture. Automatic regions
# bring a margin of their own; without any, 6 % of the text's pixels were missed on the sample.
CONTEXT_PX = 32


class Looked(NamedTuple):
    """A frame with its working picture, where one was needed."""

    frame: frames.Frame
    rgb: UInt8 | None


class Mapped(NamedTuple):
    """A frame with the runs it lies in and its occlusion map (zero outside them)."""

    frame: frames.Frame
    runs: Active
    occlusion: UInt8


class Matted(NamedTuple):
    """A mapped frame with its matte."""

    mapped: Mapped
    matte: UInt8


def looked(info: frames.VideoInfo, size: Size, wanted: Callable[[frames.Frame], bool]) -> Generator[Looked, None, None]:
    """All frames, those that are `wanted` with their picture at working size."""
    with closing(frames.read(info)) as pictures:
        for frame in pictures:
            yield Looked(frame, frame.rgb(size.height_px, size.width_px) if wanted(frame) else None)


def queue_frames(info: frames.VideoInfo) -> int:
    """Frames that may wait between two threads: enough to ride out an encoder's bursts, fewer where they are large."""
    frame_bytes = 3 * info.width_px * info.height_px * (1 + (info.bit_depth > 8))
    return max(1, min(QUEUE_FRAMES, QUEUE_BYTES // frame_bytes))


class Matting:
    """Maps of one video's runs, each computed only inside its frame's regions, and mattes of them.

    Two passes may be under way at once, on threads of their own: one computes a frame's map, the other takes it over.
    """

    def __init__(
        self,
        info: frames.VideoInfo,
        runs: list[RegionRun],
        working: Size,
        prior: Prior,
        region: RegionConfig,
        matte: MatteConfig,
        watch: Stopwatch,
        stop: Stop | None = None,
    ) -> None:
        self._info, self._runs, self._working, self._prior = info, runs, working, prior
        self._config, self._watch, self._stop = matte, watch, stop
        picture = Size(info.width_px, info.height_px)
        margin_px = CONTEXT_PX if region.mode == "fixed" else 0
        self._boxes = {run.box: grow(rescale(run.box, picture, working), margin_px, margin_px, working) for run in runs}
        self._relay: Relay[UInt8] | None = None

    def writing(self) -> Generator[Matted, None, None]:
        """All frames with their mattes, made ahead. Where there is a leading pass, call `leading` first."""
        return self._ahead(self._matted(""), STEADY_FRAMES)

    def leading(self) -> Generator[Shown, None, None]:
        """The same for a leading pass; its stages are those of the writing one after "lead: "."""
        self._relay = Relay()
        return self._shown()

    def _shown(self) -> Generator[Shown, None, None]:
        with closing(self._matted("lead: ")) as matted:
            for item, matte in matted:
                yield item.frame, matte

    def _matted(self, pass_name: str) -> Generator[Matted, None, None]:
        with closing(self._ahead(self._mapped(pass_name), STEADY_FRAMES)) as all_mapped:
            waiting: deque[Mapped] = deque()
            mapped = self._watch.each(all_mapped, f"{pass_name}wait for maps")
            for matte in self._watch.each(steady(_maps(mapped, waiting), self._config), f"{pass_name}matte"):
                yield Matted(waiting.popleft(), matte)

    def _mapped(self, pass_name: str) -> Generator[Mapped, None, None]:
        blank = np.zeros((self._working.height_px, self._working.width_px), np.uint8)
        blank.flags.writeable = False
        read_table, table = Timetable(self._runs), Timetable(self._runs)
        reading = looked(self._info, self._working, lambda frame: bool(read_table.at(frame.index)))
        with closing(self._ahead(self._watch.each(reading, f"{pass_name}decode"))) as pictures:
            for item in self._watch.each(pictures, f"{pass_name}wait for frames"):
                active = table.at(item.frame.index)
                if item.rgb is None:
                    yield Mapped(item.frame, (), blank)
                else:
                    compute = partial(self._occlusion, item.rgb, active, f"{pass_name}prior")
                    with self._watch.stage(f"{pass_name}wait for prior"):
                        occlusion = compute() if self._relay is None else self._relay.of(item.frame.index, compute)
                    yield Mapped(item.frame, active, occlusion)

    def _occlusion(self, rgb: UInt8, active: Active, stage: str) -> UInt8:
        with self._watch.stage(stage):
            occlusion = np.zeros((self._working.height_px, self._working.width_px), np.uint8)
            for box in {self._boxes[run.box] for run in active}:
                np.maximum(occlusion, self._prior(rgb, box), out=occlusion)
        return occlusion

    def _ahead(self, items: Iterable[T], most_frames: int = QUEUE_FRAMES) -> Generator[T, None, None]:
        return ahead(items, min(queue_frames(self._info), most_frames), stop=self._stop)


def _maps(mapped: Iterable[Mapped], waiting: deque[Mapped]) -> Iterator[UInt8]:
    """The maps of frames, which wait for their mattes; `itertools.tee` would hold up to 57 of them longer."""
    for item in mapped:
        waiting.append(item)
        yield item.occlusion
