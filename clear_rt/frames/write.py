"""`Writer`: the frames encoded again, everything else carried over, the target replaced only when all is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.packet import Packet
from av.video.stream import VideoStream

from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.feed import Feed, time_base_of
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.output import Output
from clear_rt.frames.video_stream import start_with_encoder
from clear_rt.frames.writable import settle


class Writer:
    """Context manager. Leaving it normally completes `target`; leaving it by any exception leaves no trace of it.

    Raises OutputError and EngineError (what `check_writable` refuses, space, failures while writing) and InputError
    (other streams of the source are damaged). `dropped_streams` holds a sentence for each stream the container could
    not take.
    """

    def __init__(self, source: VideoInfo, target: Path | str, config: WriteConfig) -> None:
        self._info = source
        self._target = Path(target)
        self._config = config
        self._output: Output | None = None
        self.frames_written = 0

    def __enter__(self) -> Self:
        self._encoder = settle(self._info, self._target, self._config, follow=False)
        self._output = Output(self._info, self._target)
        self._time_base = time_base_of(self._info, self._output.muxer)
        self._feed = Feed(self._info, self._time_base)
        try:
            self._stream = start_with_encoder(self._output, self._encoder, self._info)
        except BaseException:
            self._output.abandon()
            raise
        return self

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder in use, for example "libx264"; known once the context was entered."""
        return self._encoder.name

    @property
    def why_not_gpu(self) -> str | None:
        """Half a sentence where NVENC would have been taken and could not be; known once the context was entered."""
        return self._encoder.why_not_gpu

    @property
    def dropped_streams(self) -> tuple[str, ...]:
        return tuple(self._output.remux.dropped) if self._output else ()

    def write(self, frame: Frame) -> None:
        """Encode the next frame, and copy what the other streams hold up to its time."""
        output = self._open_output()
        with self._feed.prepared(frame, self._stream.codec_context) as picture:
            self._mux(output, picture)
        self.frames_written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        output = self._open_output()
        if kind is not None:
            output.abandon()
            return
        try:
            if not self.frames_written:
                raise OutputError(f"{self._target} was not written because it got no frame; check the input")
            self._mux(output, None)
            with output.guarded():
                output.remux.feed(output.container, None)
            output.finish()
        except BaseException:
            output.abandon()
            raise

    def _open_output(self) -> Output:
        if self._output is None:
            raise RuntimeError("Writer is a context manager: use it in a with statement")
        return self._output

    def _mux(self, output: Output, picture: av.VideoFrame | None) -> None:
        try:
            packets = self._stream.encode(picture)
        except AV_ERRORS as error:
            raise OutputError(
                f"encoding frame {self.frames_written} with {self._encoder.name} failed ({reason(error)}); "
                "try another --crf or output container"
            ) from error
        with output.guarded():
            for packet in packets:
                until_s = self._finish_packet(packet)
                output.container.mux_one(packet)
                output.remux.feed(output.container, until_s)

    def _finish_packet(self, packet: Packet[VideoStream]) -> Fraction:
        if packet.pts is not None:
            packet.duration = self._feed.duration_of(packet)
        return (packet.dts or 0) * self._time_base
