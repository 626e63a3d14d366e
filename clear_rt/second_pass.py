"""The pass over a video that edits its frames: mattes, generated contents and compositing on threads of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt import frames
from clear_rt.canvas import Array
from clear_rt.composite import paste, restored
from clear_rt.config import RunConfig
from clear_rt.contents import Contents
from clear_rt.contents_state import Start, start_of
from clear_rt.generate import CropGenerator
from clear_rt.leading import Shown
from clear_rt.matting import Matted, Matting, queue_frames
from clear_rt.outlining import Outlining
from clear_rt.regions import RegionRun
from clear_rt.report import Stopwatch
from clear_rt.resuming import Resuming
from clear_rt.states import StateError
from clear_rt.telling import Progress
from clear_rt.threads import Stop, spare_workers, spread

UInt8 = npt.NDArray[np.uint8]


class Cleaned(NamedTuple):
    """What an observer gets to see of every frame: source, result, and the map and matte between them."""

    source: frames.Frame
    result: frames.Frame
    occlusion: UInt8
    matte: UInt8


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


class _Edit(NamedTuple):
    """A frame with its matte, and what was generated for its runs."""

    matted: Matted
    generated: list[Array]


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
    workers = min(spare_workers(), queue_frames(subject.info))
    first_frame, matting, made = _begun(subject, watch, tell, stop, resuming, all_frames=all_frames)
    with (
        made or nullcontext() as contents,
        closing(_edits(matting.writing(), contents, watch)) as edits,
        closing(
            spread(
                watch.timed(partial(_cleaned, subject.config, contents), "composite"),
                edits,
                workers + 1,
                workers,
                stop=stop,
                idle=contents.tell if contents else _nothing,
            )
        ) as cleaned,
    ):
        yield Pass(first_frame, cleaned, contents)


def _begun(
    subject: Subject, watch: Stopwatch, tell: Progress, stop: Stop, resuming: Resuming | None, *, all_frames: bool
) -> tuple[int, Matting, Contents | None]:
    """The first frame, mattes and contents from there on; a state that the engine does not take up is passed by."""
    starts = [(0, None)] if resuming is None or all_frames else resuming.starts(subject.runs)
    for first_frame, state in starts:
        with suppress(StateError):
            return first_frame, *_from(first_frame, state, subject, watch, tell, stop, resuming)
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
    start = Start(first_frame) if generator is None else start_of(generator, info, runs, first_frame, state)
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
    matted: Generator[Matted, None, None], contents: Contents | None, watch: Stopwatch
) -> Generator[_Edit, None, None]:
    """What has to be done to every frame, in order."""
    with closing(matted):
        for one in watch.each(matted, "wait for mattes"):
            with watch.stage("wait for content"):
                generated = [] if contents is None else [contents.next_of(run) for run in one.mapped.runs]
            yield _Edit(one, generated)


def _cleaned(config: RunConfig, contents: Contents | None, edit: _Edit) -> Cleaned:
    """A frame with the text of its runs replaced."""
    item, matte, kept = edit.matted
    result = item.frame
    for i, run in enumerate(item.runs):
        if contents is None:
            result = paste(result, run.box, matte, config.composite)
        else:
            result = contents.pasted(result, run, matte, config.composite, edit.generated[i])
    if config.composite.mode == "off" and item.runs:
        # The matte leaves out what is kept, and this mode does not look at it.
        result = restored(result, item.frame, kept)
    return Cleaned(item.frame, result, item.occlusion, matte)


def _undrafted(info: frames.VideoInfo, watch: Stopwatch) -> Generator[Shown, None, None]:
    with closing(frames.read(info)) as pictures:
        for frame in watch.each(pictures, "lead: decode"):
            yield frame, None


def _unkept(frame: int, state: bytes) -> None:
    """Nobody goes on from it."""


def _nothing() -> None:
    """There is no model to tell of."""
