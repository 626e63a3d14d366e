"""What can refuse a job before its first frame is read: name, place, orientation and encoder."""

from __future__ import annotations

from pathlib import Path

from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames.atomic import check_target, muxer_for
from clear_rt.frames.encoders import Encoder, choose_encoder
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.orientation import Orientation
from clear_rt.frames.picture_files import encoders_of

KEEPS_ORIENTATION = {"mp4", "mov", "3gp", "matroska", "webm"}


def check_writable(info: VideoInfo, target: Path, config: WriteConfig) -> None:
    """Whether a `Writer` would start, found out without touching `target`: call it before a long scan.

    Raises OutputError: unknown extension, folder missing or closed, target is a directory, a device or the source,
    rotation or mirroring that the container cannot say, samples that no encoder for the container takes. Raises
    EngineError where the encoder asked for by name cannot be had on this machine.
    """
    settle(info, target, config)


def settle(info: VideoInfo, target: Path, config: WriteConfig, *, follow: bool = True) -> Encoder:
    """The checks of `check_writable`, and the encoder they lead to. Raises OutputError and EngineError.

    Without `follow` it is one that has a quality, whatever the source's codec.
    """
    muxer = check_place(info, target)
    return choose_encoder(info, config, muxer, encoders_of(target, muxer), follow=follow)


def check_place(info: VideoInfo, target: Path) -> str:
    """The muxer for `target`. Raises OutputError: extension, folder, the source itself, orientation."""
    muxer = muxer_for(target)
    check_target(info.path, target)
    if not keeps_orientation(info, muxer):
        raise OutputError(
            f"the picture is shown {_turn(info.orientation)}, which a {muxer} file cannot say; "
            "give the output the extension .mp4, .mov or .mkv"
        )
    return muxer


def keeps_orientation(info: VideoInfo, muxer: str) -> bool:
    """Whether a file of `muxer` can say how the picture is turned and mirrored, or need not say it."""
    return info.orientation == Orientation() or muxer in KEEPS_ORIENTATION


def _turn(orientation: Orientation) -> str:
    turn = f"turned by {orientation.rotation_degrees} degrees" if orientation.rotation_degrees else ""
    return " and ".join(part for part in (turn, "mirrored" if orientation.mirrored else "") if part)
