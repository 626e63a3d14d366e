"""`SegmentedWriter`: what `Writer` writes, by way of segments that outlive the process that made them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames.feed import Feed, time_base_of
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.output import Output
from clear_rt.frames.segments.assemble import Part, assemble
from clear_rt.frames.segments.edits import Edits
from clear_rt.frames.segments.encode import SegmentEncoder, Setting
from clear_rt.frames.segments.files import SegmentFacts, read_packets, read_pts
from clear_rt.frames.segments.plan import SEGMENT_FRAMES, Segment, SegmentPlan
from clear_rt.frames.segments.recipe import Recipe
from clear_rt.frames.segments.room import check_room
from clear_rt.frames.segments.work import Work
from clear_rt.frames.writable import check_place


class SegmentedWriter:
    """Context manager as `Writer` is: left normally it completes `target`, otherwise `target` is as it was.

    What differs: the frames are encoded in segments, each by a fresh encoder, which are kept in `work` as they are
    finished; a writer of the same job goes on after `finished_frames`, and the result is the same. `work` is entered
    before and left after. Its options have to say all that the frames depend on. `edits` says which frames may differ
    from the source, for `config.smart_copy`. Frames are counted by their `index`; no segment has more than
    `segment_frames`. `frames_resumed` of them were encoded by an earlier writer.

    Raises OutputError and EngineError (what `check_writable` refuses, space, failures while writing), InputError
    (the source's packets are damaged).
    """

    def __init__(
        self,
        source: VideoInfo,
        target: Path | str,
        config: WriteConfig,
        work: Work,
        *,
        edits: Edits | None = None,
        segment_frames: int = SEGMENT_FRAMES,
    ) -> None:
        self._info, self._target, self._config, self._work = source, Path(target), config, work
        self._edits, self._segment_frames = edits, segment_frames
        self._segment: SegmentEncoder | None = None
        self._next = 0
        self.finished_frames = 0
        self.frames_resumed = 0
        self.dropped_streams: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        muxer = check_place(self._info, self._target)
        self._recipe = Recipe(self._info, self._target, muxer, self._config, self._edits, self._segment_frames)
        check_room(self._info, self._target, self._config, self._recipe.aim, self._work.finished_bytes())
        self._try_header()
        self._go_on()
        return self

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder in use, for example "libx264"; known once the context was entered."""
        return self._recipe.strategy.encoder.name

    @property
    def why_not_gpu(self) -> str | None:
        """Half a sentence where NVENC would have been taken and could not be; known once the context was entered."""
        return self._recipe.strategy.encoder.why_not_gpu

    @property
    def why_not_smart_copy(self) -> str | None:
        """A sentence where smart copy was asked for and cannot be had; known once the context was entered."""
        return self._recipe.why_not_smart_copy

    @property
    def plan(self) -> SegmentPlan:
        """Where segments begin and end; known once the context was entered."""
        return self._recipe.strategy.plan

    @property
    def frames_copied(self) -> int:
        """How many of the frames so far stand in the result as the packets of the source."""
        segments = self.plan.until(self._next)
        return sum(segment.stop_frame - segment.start_frame for segment in segments if segment.copied)

    def write(self, frame: Frame) -> None:
        """The next frame. Nothing is done with those that are finished already or are copied with their packets."""
        if frame.index < self.finished_frames:
            return
        if frame.index != self._next:
            raise ValueError(f"expected frame {self._next}, got {frame.index}")
        segment = self.plan.at(frame.index)
        if segment is None:
            raise ValueError(f"expected no frame after {frame.index - 1}, as many as were announced")
        if not segment.copied:
            if self._segment is None:
                self._segment = self._fresh(segment)
            self._segment.write(frame)
        self._next += 1
        if self._next == segment.stop_frame:
            self._finish()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._complete()
        finally:
            if self._segment is not None:
                self._segment.abandon()

    def _try_header(self) -> None:
        """What the container refuses is to be known before the first frame is encoded, not after the last."""
        output = Output(self._info, self._target, self._work.result_path)
        strategy = self._recipe.strategy
        try:
            self._headers = strategy.headers(strategy.start(output))
            self.dropped_streams = tuple(output.remux.dropped)
        finally:
            output.abandon()
        self._time_base = time_base_of(self._info, output.muxer)
        self._setting = Setting(self._info, self._time_base, self._headers is not None, self._work.threads)

    def _go_on(self) -> None:
        """Find out after which frame to go on; what does not fit the plan is discarded."""
        at = self._after_copied(0)
        last_pts = None
        for number, facts in enumerate(self._work.segments):
            if not self._fits(facts, at, number + 1 == len(self._work.segments)):
                self._work.keep(number, "they were encoded in another way")
                break
            at, last_pts = self._after_copied(facts.stop_frame), facts.last_pts
        self.frames_resumed = sum(facts.stop_frame - facts.start_frame for facts in self._work.segments)
        self.finished_frames = self._next = at
        self._feed = Feed(self._info, self._time_base, last_pts)

    def _after_copied(self, frame: int) -> int:
        """The first frame from `frame` on that is to be encoded, or the end."""
        while (segment := self.plan.at(frame)) is not None and segment.copied:
            frame = segment.stop_frame
        return frame

    def _fits(self, facts: SegmentFacts, at: int, is_last: bool) -> bool:
        segment = self.plan.at(at)
        if segment is None:
            return False
        # The video may have ended before the last segment did.
        is_whole = facts.stop_frame == segment.stop_frame or (is_last and facts.stop_frame < segment.stop_frame)
        same_headers = facts.headers == (self._headers or "")
        return facts.start_frame == at and is_whole and same_headers and facts.encoder == self.encoder

    def _fresh(self, segment: Segment) -> SegmentEncoder:
        encoder, path = self._recipe.encoder_for(segment), self._work.next_path()
        return SegmentEncoder(self._setting, encoder, self._feed, path, segment.start_frame)

    def _finish(self) -> None:
        if self._segment is None:
            return
        facts = self._segment.finish()
        self._segment = None
        self._work.add(facts)
        if facts.headers != (self._headers or ""):
            raise OutputError(
                f"{facts.encoder} describes its pictures in another way from frame {facts.start_frame} on, which "
                f"{self._target} cannot say; use --encoder cpu or another container"
            )

    def _complete(self) -> None:
        self._finish()
        if not self._next:
            raise OutputError(f"{self._target} was not written because it got no frame; check the input")
        if self.plan.total_frames not in (None, self._next):
            raise OutputError(
                f"{self._target} needs {self.plan.total_frames} frames, but got {self._next}; leave out --smart-copy"
            )
        output = Output(self._info, self._target, self._work.result_path)
        strategy = self._recipe.strategy
        try:
            assemble(output, strategy.start(output), self._parts(), self._time_base)
            output.finish()
            self.dropped_streams = tuple(output.remux.dropped)
        except BaseException:
            output.abandon()
            raise
        finally:
            strategy.close()

    def _parts(self) -> list[Part]:
        strategy, parts, number = self._recipe.strategy, [], 0
        for segment in self.plan.until(self._next):
            if segment.copied:
                parts.append(strategy.copied(segment))
            else:
                path, number = self._work.path_of(number), number + 1
                parts.append(Part(read_pts(path), strategy.encoded(segment, read_packets(path))))
        return parts
