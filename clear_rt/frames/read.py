"""`read`: every frame of a video in presentation order, and an error where some of them are missing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av

from clear_rt.errors import InputError
from clear_rt.frames.clock import Clock
from clear_rt.frames.decode import pictures
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.opening import open_input
from clear_rt.frames.probe import probe
from clear_rt.frames.scale import Scaler

_US = 1_000_000
_TOLERATED_MISSING_US = 500_000
_TOLERATED_MISSING_SHARE = 0.02


def read(source: Path | str | VideoInfo) -> Generator[Frame, None, None]:
    """Frames of `source` one by one; memory does not grow with the video. `close()` the generator to stop early.

    Raises InputError where the file cannot be decoded to its end, changes size or pixel format on the way, or holds
    clearly less (0.5 s and 2 %) than its header states. Frames without a time stamp get one from the average rate.
    What decodes them is `info.decoder`; it raises EngineError where NVDEC was asked for by name and stops.
    """
    info = source if isinstance(source, VideoInfo) else probe(source)
    layout = pixel_layout(info.pixel_format)
    assert layout is not None
    clock, scaler = Clock(info.time_base, info.rate), Scaler()
    with closing(pictures(info)) as decoded:
        for index, picture in enumerate(decoded):
            _check_unchanged(info, picture, index)
            picture.pts, picture.time_base = clock.stamp(picture.pts), info.time_base
            time_us = round(picture.pts * info.time_base * _US)
            yield Frame(picture, index, time_us, layout, info.orientation, scaler)
            end_us = round((picture.pts + (picture.duration or clock.step)) * info.time_base * _US)
            count = index + 1
    _check_complete(info, count, end_us)


def _check_unchanged(info: VideoInfo, picture: av.VideoFrame, index: int) -> None:
    expected = (info.stored_width_px, info.stored_height_px, info.pixel_format)
    found = (picture.width, picture.height, picture.format.name)
    if found != expected:
        raise InputError(
            f"the picture of {info.path} changes from {expected[0]}x{expected[1]} {expected[2]} to "
            f"{found[0]}x{found[1]} {found[2]} at frame {index}; cut the file there and process the parts"
        )


def _check_complete(info: VideoInfo, count: int, end_us: int) -> None:
    declared_us = info.declared_end_us
    if declared_us is None:
        return
    missing_us = declared_us - end_us
    if missing_us <= max(_TOLERATED_MISSING_US, _TOLERATED_MISSING_SHARE * (declared_us - info.start_us)):
        return
    if _some_stream_ends_us(info) >= declared_us - _TOLERATED_MISSING_US:
        return
    raise InputError(
        f"{info.path} is cut short: its header states {declared_us / _US:.2f} s, but after frame {count} at "
        f"{end_us / _US:.2f} s there is no more; copy or export it again"
    )


def _some_stream_ends_us(info: VideoInfo) -> int:
    """End of the last packet of all streams but the video: sound may rightly go on where the picture has ended."""
    if "mov" in info.container:
        return 0
    end_us = Fraction(0)
    with open_input(info.path, info.demuxing) as container:
        others = [s for s in container.streams if s.index != info.stream_index]
        if not others:
            return 0
        try:
            for packet in container.demux(others):
                if packet.pts is not None:
                    end_us = max(end_us, (packet.pts + (packet.duration or 0)) * packet.time_base * _US)
        except AV_ERRORS as error:
            raise InputError(f"{info.path} is damaged ({reason(error)}); copy or export it again") from error
    return round(end_us)
