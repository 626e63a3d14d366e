"""Every picture of a video as the CPU decodes it, and the sentences for what cannot be decoded."""

from __future__ import annotations

from collections.abc import Generator

import av
from av.video.stream import VideoStream

from clear_rt.errors import InputError
from clear_rt.frames.byte_order import NativeOrder
from clear_rt.frames.clock import FileOrder
from clear_rt.frames.failures import AV_ERRORS, reason
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.opening import open_input

_US = 1_000_000


def cpu_pictures(info: VideoInfo) -> Generator[av.VideoFrame, None, None]:
    """In presentation order, stamped as the file is. Raises InputError: damage, or no picture at all."""
    count, time_us, order, native = 0, 0, FileOrder(info.container), NativeOrder()
    with open_input(info.path, info.demuxing) as container:
        stream = container.streams[info.stream_index]
        assert isinstance(stream, VideoStream)
        stream.thread_type = "AUTO"
        try:
            for packet in container.demux(stream):
                order.add(packet)
                try:
                    pictures = packet.decode()
                except AV_ERRORS:
                    # A recording that starts between key frames begins with packets nobody can decode.
                    if count:
                        raise
                    continue
                for picture in pictures:
                    count += 1
                    order.stamp(picture)
                    time_us = round((picture.pts or 0) * info.time_base * _US)
                    yield native(picture)
        except AV_ERRORS as error:
            raise InputError(
                f"{info.path} is damaged: decoding stopped after frame {count} at {time_us / _US:.2f} s "
                f"({reason(error)}); copy or export it again"
            ) from error
    if not count:
        raise InputError(f"no frame of {info.path} can be decoded; copy or export it again")
