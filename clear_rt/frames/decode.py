"""Which of the two decodes a video this time: the CPU or NVDEC, and the CPU where NVDEC stops."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from itertools import islice

import av

from clear_rt.config import DecoderName
from clear_rt.frames.decode_cpu import cpu_pictures
from clear_rt.frames.decode_nvdec import nvdec_pictures, refusal
from clear_rt.frames.decoder import Decoder
from clear_rt.frames.failures import GPU_ERRORS, gpu_reason
from clear_rt.frames.info import VideoInfo


def with_decoder(info: VideoInfo, asked: DecoderName) -> VideoInfo:
    """`info` with the decoder `asked` for; "auto" tries NVDEC on the first frames of the video where there is a GPU.

    Raises EngineError where "nvdec" is asked for and cannot be had.
    """
    decoder = Decoder(asked)
    if decoder.may_use_gpu and (why_not := refusal(info)):
        decoder.decline(why_not)
    return replace(info, decoder=decoder)


def pictures(info: VideoInfo) -> Generator[av.VideoFrame, None, None]:
    """All pictures in presentation order, the same whatever decodes them. Close it.

    Raises InputError as `cpu_pictures`, and EngineError where NVDEC was asked for by name and stops.
    """
    decoder = info.decoder
    if not decoder.may_use_gpu:
        return cpu_pictures(info)
    return _first_reading(info, decoder) if decoder.frames is None else _later_reading(info, decoder, decoder.frames)


def _first_reading(info: VideoInfo, decoder: Decoder) -> Generator[av.VideoFrame, None, None]:
    count = 0
    with closing(cpu_pictures(info)) as decoded:
        for picture in decoded:
            if picture.is_corrupt:
                decoder.decline(f"the video is damaged in frame {count}, which the CPU conceals in its own way")
            elif picture.interlaced_frame:
                decoder.decline(f"the video is interlaced in frame {count}")
            yield picture
            count += 1
    decoder.frames = count


def _later_reading(info: VideoInfo, decoder: Decoder, frames: int) -> Generator[av.VideoFrame, None, None]:
    count = 0
    try:
        with closing(nvdec_pictures(info)) as decoded:
            for picture in islice(decoded, frames):
                decoder.gpu_used = True
                yield picture
                count += 1
        failure = "" if count == frames else f"{frames} were expected"
    except GPU_ERRORS as error:
        failure = gpu_reason(error)
    if failure:
        decoder.decline(f"NVDEC stopped after {count} frames ({failure})")
        with closing(cpu_pictures(info)) as rest:
            yield from islice(rest, count, None)
