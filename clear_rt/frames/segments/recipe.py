"""How one video's segments are encoded: which strategy, and which options for each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clear_rt.config import WriteConfig
from clear_rt.frames.encoder_options import options_of
from clear_rt.frames.encoders import Encoder, choose_encoder
from clear_rt.frames.feed import time_base_of
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.picture_files import same_pictures
from clear_rt.frames.segments.aim import Aim
from clear_rt.frames.segments.copy_pictures import CopyPictures
from clear_rt.frames.segments.edits import Edits
from clear_rt.frames.segments.level import level_options, with_options
from clear_rt.frames.segments.plan import Segment, SegmentPlan
from clear_rt.frames.segments.smart_copy import smart_copy
from clear_rt.frames.segments.strategy import EncodeAll, Strategy
from clear_rt.frames.writable import settle


class Recipe:
    """Settled before the first frame, by the source and the options alone.

    `why_not_smart_copy` is a sentence where it was asked for and cannot be had. Raises OutputError and EngineError as
    `check_writable`, InputError where the packets of the source cannot be read.
    """

    def __init__(
        self,
        info: VideoInfo,
        target: Path,
        muxer: str,
        config: WriteConfig,
        edits: Edits | None,
        segment_frames: int,
    ) -> None:
        self._info, self._config, self._muxer, self._segment_frames = info, config, muxer, segment_frames
        self.why_not_smart_copy: str | None = None
        self._aims: dict[str, Aim] = {}
        self.strategy = self._chosen(target, edits)

    def encoder_for(self, segment: Segment) -> Encoder:
        """The encoder with the options for one segment."""
        encoder = with_options(self.strategy.encoder, self.strategy.options(segment))
        if self.aim.bits_per_s is None:
            return encoder
        rate = self.aim.of(segment.start_frame, segment.stop_frame).bitrate
        return replace(encoder, options=encoder.options | {"b": str(rate)})

    def _chosen(self, target: Path, edits: Edits | None) -> Strategy:
        if strategy := self._copying(target, edits):
            return strategy
        encoder = settle(self._info, target, self._config)
        if edits is not None and same_pictures(self._info, target, self._muxer):
            return CopyPictures(self._info, self._levelled(encoder), edits, self._segment_frames)
        return self._encoding(encoder)

    def _encoding(self, encoder: Encoder) -> Strategy:
        return EncodeAll(self._info, self._levelled(encoder), SegmentPlan(segment_frames=self._segment_frames))

    def _copying(self, target: Path, edits: Edits | None) -> Strategy | None:
        if not self._config.smart_copy or self._muxer == "image2":
            return None
        # NVENC cannot give its parameter sets a number that the source's do not have.
        on_cpu = self._config.encoder in ("auto", "cpu")
        if on_cpu:
            encoder = choose_encoder(self._info, replace(self._config, encoder="cpu"), self._muxer)
            found = smart_copy(self._info, target, self._muxer, self._levelled(encoder), edits, self._segment_frames)
        else:
            found = f"{self._config.encoder} cannot keep its parameter sets apart from the source's"
        if not isinstance(found, str):
            return found
        self.why_not_smart_copy = f"no packets were copied, all frames were encoded, because {found}"
        return None

    def _levelled(self, encoder: Encoder) -> Encoder:
        """The encoder at the rate of the segment with most, its level fixed to what that takes."""
        # Finding it out may take a pass over the whole file.
        self.aim = self._aims.get(encoder.name) or Aim(self._info, self._config, encoder.name)
        self._aims[encoder.name] = self.aim
        if self.aim.bits_per_s is None:
            return encoder
        options = options_of(encoder.name, self.aim.most(self._segment_frames), self._info, self._muxer)
        at_most = replace(encoder, options=options)
        return with_options(at_most, level_options(at_most, self._info, time_base_of(self._info, self._muxer)))
