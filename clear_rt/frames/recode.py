"""Pictures through an encoder and its decoder, without a file: what coding leaves of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from clear_rt.errors import ConfigError
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.scale import Scaler
from clear_rt.shapes import round_up

UInt8 = NDArray[np.uint8]

_DECODERS = {"libx264": "h264", "libx265": "hevc"}
_RATE = Fraction(25)
# swscale's tables cut off instead of rounding, which darkens by 1.2 codes of 255 (`scale`).
_EXACT = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


@dataclass(frozen=True, slots=True)
class Coding:
    """An encoder by FFmpeg's name and its options."""

    encoder: str
    options: tuple[tuple[str, str], ...]


def recoded(pictures: Iterable[UInt8], coding: Coding) -> Iterator[UInt8]:
    """RGB uint8 [H, W, 3], all of one size, coded in 4:2:0 and decoded: as many, in the same order, of that size.

    One thread each way, so that the same pictures always give the same. Pictures are held back as long as the encoder
    looks ahead.

    Raises:
        ConfigError: FFmpeg has no such encoder, or it takes neither the options nor pictures of this size.
    """
    coder: _Coder | None = None
    for index, picture in enumerate(pictures):
        coder = coder or _Coder(picture.shape[1], picture.shape[0], coding)
        yield from coder.take(picture, index)
    if coder is not None:
        yield from coder.rest()


class _Coder:
    """Sizes are rounded up to even ones, as 4:2:0 needs them, by repeating the last row and column."""

    def __init__(self, width_px: int, height_px: int, coding: Coding) -> None:
        self._size_px = width_px, height_px
        self._padding = ((0, round_up(height_px, 2) - height_px), (0, round_up(width_px, 2) - width_px), (0, 0))
        self._coding = coding
        self._reformatter, self._scaler = VideoReformatter(), Scaler()
        try:
            encoder = av.CodecContext.create(coding.encoder, "w")
            decoder = av.CodecContext.create(_DECODERS.get(coding.encoder, coding.encoder), "r")
        except AV_ERRORS as error:
            raise ConfigError(
                f"this FFmpeg cannot code with {coding.encoder} ({error}); choose another codec"
            ) from error
        assert isinstance(encoder, VideoCodecContext)
        assert isinstance(decoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = round_up(width_px, 2), round_up(height_px, 2), "yuv420p"
        encoder.framerate, encoder.time_base = _RATE, 1 / _RATE
        encoder.options = dict(coding.options)
        encoder.thread_count = decoder.thread_count = 1
        self._encoder, self._decoder = encoder, decoder

    def take(self, picture: UInt8, index: int) -> Iterator[UInt8]:
        """Give one picture; get those that are through by now."""
        padded = np.pad(picture, self._padding, mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), "rgb24")
        frame = self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601 if padded.shape[0] < 720 else Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=_EXACT,
            threads=1,
        )
        frame.pts, frame.time_base = index, 1 / _RATE
        yield from self._through(frame)

    def rest(self) -> Iterator[UInt8]:
        """Those that are still inside."""
        yield from self._through(None)
        for frame in self._decoder.decode(None):
            yield self._rgb(frame)

    def _through(self, frame: av.VideoFrame | None) -> Iterator[UInt8]:
        try:
            packets = self._encoder.encode(frame)
        except AV_ERRORS as error:
            width_px, height_px = self._size_px
            raise ConfigError(
                f"{self._coding.encoder} does not take pictures of {width_px}x{height_px} ({reason(error)}); "
                "choose another codec"
            ) from error
        for packet in packets:
            for decoded in self._decoder.decode(packet):
                yield self._rgb(decoded)

    def _rgb(self, frame: av.VideoFrame) -> UInt8:
        width_px, height_px = self._size_px
        rgb = self._scaler.rgb(frame, frame.height, frame.width, exact=True)
        return rgb[:height_px, :width_px].copy()
