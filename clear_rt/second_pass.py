"""The pass over a video that edits its frames: mattes, generated contents and compositing on threads of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt import frames
from clear_rt.canvas import Array
from clear_rt.composite import paste, restored
from clear_rt.config import RunConfig
from clear_rt.contents import Contents
from clear_rt.contents_state import Start as ContentsStart
from clear_rt.contents_state import start_of
from clear_rt.generate import CropGenerator
from clear_rt.grid import grid_of
from clear_rt.holes import holes
from clear_rt.leading import Shown
from clear_rt.matting import STEADY_FRAMES, Matted, Matting, queue_frames
from clear_rt.outlining import Outlining
from clear_rt.propagating import Filled, foreseen, propagated, reach_of, unpacked_known
from clear_rt.propagation import Known, patches_of
from clear_rt.regions import RegionRun
from clear_rt.report import Stopwatch
from clear_rt.resuming import FROM_THE_FIRST, Resuming, Start
from clear_rt.shapes import Box, Size
from clear_rt.states import StateError
from clear_rt.telling import Progress
from clear_rt.threads import Stop, ahead, spare_workers, spread
from clear_rt.veils.following import Veil, Veils
from clear_rt.veils.lifting import lifted
from clear_rt.veils.look import picture_of

UInt8 = npt.NDArray[np.uint8]


class Cleaned(NamedTuple):
    """What an observer gets to see of every frame: source, result, and the map and matte between them.

    In boxes that are `kept` the result has the source's samples.
    """

    source: frames.Frame
    result: frames.Frame
    occlusion: UInt8
    matte: UInt8
    kept: Sequence[Box]

    def as_kept(self) -> Cleaned:
        """The same, its result with what is kept: mode "off" looks at no matte, and chroma spreads beyond it."""
        if self.result is not self.source:
            restored(self.result, self.source, self.kept)
        return self


class Pass(NamedTuple):
    """Frames from `first_frame` on as they are edited, and the content that is generated for them, if any is."""

    first_frame: int
    cleaned: Generator[Cleaned, None, None]
    contents: Contents | None


class Subject(NamedTuple):
    """A video, its runs, and what they are edited by.

    The samples of `signs` are those of the source.
    """

    info: frames.VideoInfo
    runs: Sequence[RegionRun]
    config: RunConfig
    outlining: Outlining
    generator: CropGenerator | None
    signs: Sequence[RegionRun] = ()


class _Begun(NamedTuple):
    """Where the pass begins, with what it goes on from; `before` and `veils` are what the frames before it tell."""

    first_frame: int
    matting: Matting
    contents: Contents | None
    before: Known | None
    veils: Veils


class _Edit(NamedTuple):
    """A frame with its matte, what was generated for its runs, and its veils."""

    matted: Matted
    generated: list[Array]
    veils: Sequence[Veil]


@contextmanager
def second_pass(
    subject: Subject,
    watch: Stopwatch,
    tell: Progress,
    stop: Stop,
    resuming: Resuming | None = None,
    *,
    all_frames: bool = False,
) -> Iterator[Pass]:
    """The frames of a video with their text removed; the threads end with the block: set `stop` before.

    Those that an interrupted run has finished are left out, unless somebody wants to see `all_frames`. Raises what
    decoder and engine raise, also while frames are taken.
    """
    begun = _begun(subject, watch, tell, stop, resuming, all_frames=all_frames)
    with begun.contents or nullcontext() as contents, ExitStack() as threads:
        idle = contents.tell if contents else _nothing
        edits = threads.enter_context(closing(_edits(subject, begun, watch, resuming)))
        filled = threads.enter_context(closing(_filled(subject, contents, edits, watch, stop)))
        both_ways = _propagated(subject, filled, begun.before, watch, stop, resuming)
        cleaned = threads.enter_context(closing(ahead(both_ways, _few_frames(subject.info), stop=stop, idle=idle)))
        yield Pass(begun.first_frame, cleaned, contents)


def _filled(
    subject: Subject, contents: Contents | None, edits: Generator[_Edit, None, None], watch: Stopwatch, stop: Stop
) -> Generator[Filled[Cleaned], None, None]:
    """Every frame with its own fill, on threads of its own."""
    workers = min(spare_workers(), queue_frames(subject.info))
    own = watch.timed(partial(_filled_frame, subject, contents), "composite")
    return spread(own, edits, workers + 1, workers, stop=stop)


def _propagated(
    subject: Subject,
    filled: Iterable[Filled[Cleaned]],
    before: Known | None,
    watch: Stopwatch,
    stop: Stop,
    resuming: Resuming | None,
) -> Generator[Cleaned, None, None]:
    """The frames with what others show behind their text, those that come later on a thread of its own."""
    info, composite = subject.info, subject.config.composite
    filled = watch.each(filled, "wait for composite")
    if not composite.propagates:
        yield from (one.item.as_kept() for one in filled)
        return
    grid = grid_of(Size(info.width_px, info.height_px))
    later = watch.each(foreseen(filled, grid, reach_of(info, composite.propagate)), "look ahead")
    with closing(ahead(later, _few_frames(info), stop=stop)) as waiting:
        keep = _unkept if resuming is None else partial(resuming.keep_known, subject.runs)
        one_by_one = propagated(watch.each(waiting, "wait for later frames"), grid, before, keep)
        for cleaned in watch.each(one_by_one, "propagate"):
            yield cleaned.as_kept()


def _begun(
    subject: Subject, watch: Stopwatch, tell: Progress, stop: Stop, resuming: Resuming | None, *, all_frames: bool
) -> _Begun:
    """The best of the places to begin at whose states are taken up."""
    starts: Iterable[Start] = [FROM_THE_FIRST]
    if resuming is not None and not all_frames:
        generates, composite = subject.generator is not None, subject.config.composite
        starts = resuming.starts(
            subject.runs, generates=generates, propagates=composite.propagates, lifts=composite.lifts
        )
    for start in starts:
        with suppress(StateError):
            before = None if start.known is None else unpacked_known(start.known, start.frame)
            veils = Veils(start.veils)
            matting, contents = _from(start.frame, start.model, subject, watch, tell, stop, resuming)
            return _Begun(start.frame, matting, contents, before, veils)
    raise AssertionError("the last of the starts has no state")


def _from(
    first_frame: int,
    state: bytes | None,
    subject: Subject,
    watch: Stopwatch,
    tell: Progress,
    stop: Stop,
    resuming: Resuming | None,
) -> tuple[Matting, Contents | None]:
    info, runs, config, generator = subject.info, list(subject.runs), subject.config, subject.generator
    start = ContentsStart(first_frame) if generator is None else start_of(generator, info, runs, first_frame, state)
    matting = Matting(
        info,
        runs,
        subject.outlining,
        config.region,
        config.matte,
        watch,
        stop,
        first_frame=first_frame,
        first_crop=start.first_crop,
        signs=subject.signs,
    )
    if generator is None:
        return matting, None
    contents = Contents(
        info,
        matting.leading() if generator.spec.draft else _undrafted(info, watch),
        runs,
        generator,
        watch,
        partial(tell, "generating"),
        stop,
        start=start,
        state_frames=() if resuming is None else resuming.state_frames,
        keep_state=_unkept if resuming is None else resuming.keep_state,
    )
    return matting, contents


def _edits(
    subject: Subject, begun: _Begun, watch: Stopwatch, resuming: Resuming | None
) -> Generator[_Edit, None, None]:
    """What has to be done to every frame, in order."""
    contents, veils = begun.contents, begun.veils
    with closing(begun.matting.writing()) as matted:
        for one in watch.each(matted, "wait for mattes"):
            (frame, runs, _), matte, _ = one
            with watch.stage("wait for content"):
                generated = [] if contents is None else [contents.next_of(run) for run in runs]
            found: Sequence[Veil] = ()
            if subject.config.composite.lifts:
                with watch.stage("veils"):
                    found = veils.of(picture_of(frame), matte, [run.box for run in runs])
                if resuming is not None:
                    resuming.keep_veils(subject.runs, frame.index + 1, veils)
            yield _Edit(one, generated, found)


def _filled_frame(subject: Subject, contents: Contents | None, edit: _Edit) -> Filled[Cleaned]:
    """A frame with the text of its runs replaced, by itself."""
    config = subject.config.composite
    item, matte, kept = edit.matted
    picture = Size(subject.info.width_px, subject.info.height_px)
    boxes = [run.box for run in item.runs]
    result, matte, hole = lifted(item.frame, matte, edit.veils, boxes, kept, picture)
    for i, run in enumerate(item.runs):
        if contents is None:
            result = paste(result, run.box, hole, config)
        else:
            result = contents.pasted(result, run, hole, config, edit.generated[i])
    patches = []
    if config.propagates and result is not item.frame:
        patches = patches_of(result, holes(hole, picture, boxes), grid_of(picture))
    return Filled(Cleaned(item.frame, result, item.occlusion, matte, kept), item.frame.index, result, patches)


def _undrafted(info: frames.VideoInfo, watch: Stopwatch) -> Generator[Shown, None, None]:
    with closing(frames.read(info)) as pictures:
        for frame in watch.each(pictures, "lead: decode"):
            yield frame, None


def _unkept(frame: int, state: bytes | Known) -> None:
    """Nobody goes on from it."""


def _few_frames(info: frames.VideoInfo) -> int:
    """Between threads that both take about the same time for every frame."""
    return min(queue_frames(info), STEADY_FRAMES)


def _nothing() -> None:
    """There is no model to tell of."""
