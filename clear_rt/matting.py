"""The frames of one video with their mattes: for the pass that writes, and for one that runs ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from clear_rt import frames
from clear_rt.config import MatteConfig, RegionConfig
from clear_rt.external_mask import masks
from clear_rt.leading import Shown
from clear_rt.matte import grow_and_feather, steady
from clear_rt.outlining import STILL_FRAMES, Found, Outlining, Strokes
from clear_rt.regions import RegionRun, Timetable, without
from clear_rt.relay import Relay
from clear_rt.report import Stopwatch
from clear_rt.shapes import Box, Size, grow, rescale, round_down
from clear_rt.threads import Stop, ahead

T = TypeVar("T")
UInt8 = npt.NDArray[np.uint8]
Active = tuple[RegionRun, ...]
QUEUE_FRAMES = 8
QUEUE_BYTES = 1 << 26
# Between threads that both take about the same time for every frame.
STEADY_FRAMES = 3
# What the prior sees around a region that the user drew tightly: so much of the picture's short side. Automatic
# regions bring a margin of their own; without any, 6 % of the text's pixels were missed on the sample.
CONTEXT_SHARE = 0.09


class Looked(NamedTuple):
    """A frame with its picture as the prior sees it, where one was needed."""

    frame: frames.Frame
    rgb: UInt8 | None


class Mapped(NamedTuple):
    """A frame with the runs it lies in and its occlusion map (zero but in and beside them)."""

    frame: frames.Frame
    runs: Active
    occlusion: UInt8


class Matted(NamedTuple):
    """A mapped frame with its matte, and the boxes in which nothing is changed."""

    mapped: Mapped
    matte: UInt8
    kept: Sequence[Box]


def looked(
    info: frames.VideoInfo, size: Size, wanted: Callable[[frames.Frame], bool], first_frame: int = 0
) -> Generator[Looked, None, None]:
    """All frames from `first_frame` on, those that are `wanted` with their picture at `size`."""
    with closing(frames.read(info)) as pictures:
        for frame in islice(pictures, first_frame, None):
            yield Looked(frame, frame.rgb(size.height_px, size.width_px) if wanted(frame) else None)


def queue_frames(info: frames.VideoInfo) -> int:
    """Frames that may wait between two threads: enough to ride out an encoder's bursts, fewer where they are large."""
    frame_bytes = 3 * info.width_px * info.height_px * (1 + (info.bit_depth > 8))
    return max(1, min(QUEUE_FRAMES, QUEUE_BYTES // frame_bytes))


class Matting:
    """Maps of one video's runs, each looked for only inside its frame's regions, and mattes of them, without its signs.

    Two passes may be under way at once, on threads of their own: one computes a frame's map, the other takes it over.
    The one that writes begins with `first_frame`, the leading one with `first_crop`; the frames before are decoded, and
    mattes are what they would be in a pass over all of them.
    """

    def __init__(
        self,
        info: frames.VideoInfo,
        runs: list[RegionRun],
        outlining: Outlining,
        region: RegionConfig,
        matte: MatteConfig,
        watch: Stopwatch,
        stop: Stop | None = None,
        first_frame: int = 0,
        first_crop: int = 0,
        signs: Sequence[RegionRun] = (),
    ) -> None:
        self._info, self._runs, self._outlining = info, runs, outlining
        self._signs = list(signs)
        self._region, self._config, self._watch, self._stop = region, matte, watch, stop
        self._picture = picture = Size(info.width_px, info.height_px)
        # A mask is read at the size of the maps, and nobody looks for anything.
        size = outlining.working if region.mask is None else outlining.outline
        margin_px = round(CONTEXT_SHARE * min(size)) if region.mode == "fixed" else 0
        self._boxes = {run.box: grow(rescale(run.box, picture, size), margin_px, margin_px, size) for run in runs}
        self._first_frame, self._first_crop = first_frame, first_crop
        self._relay: Relay[Found] | None = None

    def writing(self) -> Generator[Matted, None, None]:
        """The frames with their mattes, made ahead. Where there is a leading pass, call `leading` first."""
        return self._ahead(self._matted("", self._first_frame), STEADY_FRAMES)

    def leading(self) -> Generator[Shown, None, None]:
        """The same for a leading pass; its stages are those of the writing one after "lead: "."""
        self._relay = Relay()
        return self._shown()

    def _shown(self) -> Generator[Shown, None, None]:
        with closing(self._matted("lead: ", self._first_crop)) as matted:
            for item, matte, _ in matted:
                yield item.frame, matte

    def _matted(self, pass_name: str, first_frame: int) -> Generator[Matted, None, None]:
        first_map = self._first_map(first_frame)
        with closing(self._ahead(self._mapped(pass_name, first_map), STEADY_FRAMES)) as all_mapped:
            waiting: deque[Mapped] = deque()
            mapped = self._watch.each(all_mapped, f"{pass_name}wait for maps")
            mattes = self._mattes(_maps(mapped, waiting), first_map)
            for matte, kept in self._watch.each(mattes, f"{pass_name}matte"):
                made = Matted(waiting.popleft(), matte, kept)
                if made.mapped.frame.index >= first_frame:
                    yield made

    def _first_map(self, first_frame: int) -> int:
        """The first frame whose map counts for a matte from `first_frame` on, by itself or by its strokes."""
        first_map = max(0, first_frame - self._config.reach_frames)
        return first_map if self._outlining.outliner is None else round_down(first_map, STILL_FRAMES)

    def _mattes(self, maps: Iterable[UInt8], first_map: int) -> Iterator[tuple[UInt8, list[Box]]]:
        """A matte per map, without what is to be kept, and this. A mask is no guess: it is grown, and that is all."""
        config, signs = self._config, Timetable(self._signs)
        if self._region.mask is None:
            mattes = steady(maps, config)
        else:
            mattes = (grow_and_feather(found > 0, config.dilate_px, config.feather_px) for found in maps)
        for frame, matte in enumerate(mattes, first_map):
            kept = self._kept(signs.at(frame))
            yield without(matte, kept, self._picture), kept

    def _kept(self, signs: Active) -> list[Box]:
        """Boxes in which nothing is changed while these signs are there."""
        return [*self._region.keep, *(sign.box for sign in signs)]

    def _mapped(self, pass_name: str, first_map: int) -> Generator[Mapped, None, None]:
        blank = self._nothing()
        blank.flags.writeable = False
        read_table, table, signs = Timetable(self._runs), Timetable(self._runs), Timetable(self._signs)
        reading = looked(self._info, self._outlining.working, lambda frame: bool(read_table.at(frame.index)), first_map)
        with (
            closing(self._ahead(self._watch.each(reading, f"{pass_name}decode"))) as pictures,
            closing(self._given()) as given,
        ):
            ours = islice(given, first_map, None)
            strokes: Mapping[Box, Strokes] = {}
            for item in self._watch.each(pictures, f"{pass_name}wait for frames"):
                active, kept = table.at(item.frame.index), self._kept(signs.at(item.frame.index))
                mask = next(ours)
                if item.rgb is None or item.frame.index % STILL_FRAMES == 0:
                    strokes = {}
                if item.rgb is None:
                    yield Mapped(item.frame, (), blank)
                else:
                    compute = partial(self._found, item.frame, item.rgb, mask, active, strokes, f"{pass_name}prior")
                    with self._watch.stage(f"{pass_name}wait for prior"):
                        occlusion, strokes = self._shared(item.frame.index, compute)
                    yield Mapped(item.frame, active, without(occlusion, kept, self._picture))

    def _shared(self, index: int, compute: Callable[[], Found]) -> Found:
        """What both passes ask for is computed once."""
        # What only one of them asks for would stay in the relay for ever.
        if self._relay is None or index < self._first_map(max(self._first_frame, self._first_crop)):
            return compute()
        return self._relay.of(index, compute)

    def _given(self) -> Generator[UInt8 | None, None, None]:
        """A map for every frame where somebody has them, else None for every frame."""
        if self._region.mask is not None:
            yield from masks(self._region.mask, self._outlining.outline)
        while True:
            yield None

    def _nothing(self) -> UInt8:
        return np.zeros((self._outlining.outline.height_px, self._outlining.outline.width_px), np.uint8)

    def _found(
        self,
        frame: frames.Frame,
        rgb: UInt8,
        mask: UInt8 | None,
        active: Active,
        strokes: Mapping[Box, Strokes],
        stage: str,
    ) -> Found:
        """The map of a frame inside its runs: by its mask, where there is one, or by the networks."""
        boxes = {self._boxes[run.box] for run in active}
        with self._watch.stage(stage):
            if mask is None:
                return self._outlining(rgb, boxes, partial(_shown_at, frame), strokes)
            occlusion = self._nothing()
            for box in boxes:
                occlusion[box.slices] = mask[box.slices]
            return Found(occlusion)

    def _ahead(self, items: Iterable[T], most_frames: int = QUEUE_FRAMES) -> Generator[T, None, None]:
        return ahead(items, min(queue_frames(self._info), most_frames), stop=self._stop)


def _shown_at(frame: frames.Frame, size: Size) -> UInt8:
    return frame.rgb(size.height_px, size.width_px)


def _maps(mapped: Iterable[Mapped], waiting: deque[Mapped]) -> Iterator[UInt8]:
    """The maps of frames, which wait for their mattes; `itertools.tee` would hold up to 57 of them longer."""
    for item in mapped:
        waiting.append(item)
        yield item.occlusion
