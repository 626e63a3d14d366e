"""Opening an input: every way a path can be no video ends in one InputError."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import av
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from clear_rt.errors import InputError
from clear_rt.frames.demuxing import Demuxing
from clear_rt.frames.failures import AV_ERRORS, reason

PLAIN = Demuxing()
_MOV_HEAD_BYTES = 12


def open_input(path: Path, demuxing: Demuxing = PLAIN) -> InputContainer:
    """Opened container; only local files are followed, whatever the file asks for. Raises InputError."""
    first = path if demuxing.sequence is None else demuxing.sequence.path_of(demuxing.sequence.numbers[0])
    _check_file(first)
    try:
        return _open(path, None, demuxing)
    except AV_ERRORS as error:
        raise InputError(_refusal(first, error)) from error


def open_on_gpu(path: Path) -> InputContainer:
    """The same for NVDEC, of a file that opened before; no decoder of it falls back to the CPU. Raises GPU_ERRORS."""
    return _open(path, HWAccel("cuda", allow_software_fallback=False))


def _open(path: Path, hwaccel: HWAccel | None, demuxing: Demuxing = PLAIN) -> InputContainer:
    # Metadata that is not UTF-8 must travel as it is, hence surrogateescape here and in the output.
    return av.open(
        os.path.abspath(path) if demuxing.sequence is None else demuxing.sequence.for_ffmpeg,
        "r",
        format=demuxing.demuxer,
        container_options={"protocol_whitelist": "file,crypto,data"} | dict(demuxing.options),
        metadata_errors="surrogateescape",
        hwaccel=hwaccel,
    )


def _check_file(path: Path) -> None:
    try:
        mode = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"expected a video file at {path}, but nothing is there; check the path") from error
    except OSError as error:
        raise InputError(f"expected a readable video file at {path}, but {reason(error)}; check the path") from error
    if stat.S_ISDIR(mode.st_mode):
        raise InputError(f"expected a video file, but {path} is a directory; name a file inside it")
    if not stat.S_ISREG(mode.st_mode):
        raise InputError(f"expected a regular file, but {path} is a pipe or a device; save the video to a file first")
    if mode.st_size == 0:
        raise InputError(f"expected a video file, but {path} is empty (0 bytes); copy or export it again")


def _refusal(path: Path, error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return f"expected a readable video file, but reading {path} is not permitted; change its permissions"
    try:
        with path.open("rb") as file:
            is_mov = file.read(_MOV_HEAD_BYTES)[4:8] == b"ftyp"
    except OSError:
        is_mov = False
    if is_mov:
        return f"{path} is an MP4/MOV file without its index, so it is cut short or damaged; copy or export it again"
    return f"expected a video file, but {path} is none that FFmpeg knows ({reason(error)}); convert it to MP4 or MKV"


def main_video(path: Path, container: InputContainer) -> VideoStream:
    """The first video track that is not cover art and that a decoder exists for. Raises InputError."""
    tracks = [s for s in container.streams.video if not is_cover_art(s)]
    if not tracks:
        found = "cover art only" if container.streams.video else "sound only" if container.streams.audio else "none"
        raise InputError(f"expected a video track in {path}, but found {found}; give a file with moving pictures")
    decodable = [s for s in tracks if codec_of(s)]
    if not decodable:
        raise InputError(f"the video codec in {path} is not known to this FFmpeg; convert it to H.264 first")
    return decodable[0]


def is_cover_art(stream: Stream) -> bool:
    """True for a still picture attached to the file, which FFmpeg presents as a video stream."""
    return bool(stream.disposition & Disposition.attached_pic)


def codec_of(stream: Stream) -> CodecContext | None:
    """The stream's codec, None where FFmpeg has none for it: attachments, most data, unknown codecs."""
    return stream.codec_context


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of the codec, of an attachment its file name, "unknown" where there is neither."""
    context = codec_of(stream)
    return (context.codec.canonical_name if context else stream.name) or "unknown"
