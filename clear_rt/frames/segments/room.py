"""Whether the disk has room for a job, as far as that can be told before it."""

from __future__ import annotations

import shutil
from pathlib import Path

from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames.atomic import place_of
from clear_rt.frames.failures import reason, remedy
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.segments.aim import Aim

# Less than the encoders here make of moving pictures at the default quality: a start that is refused would have failed.
_LEAST_BITS_PER_PIXEL = 0.02
_LEAST_LOSSLESS_SHARE = 0.1
# Estimates of the size are good to about a fifth; what is short by less is found out on the way.
_CERTAIN = 0.8


def check_room(info: VideoInfo, target: Path, config: WriteConfig, aim: Aim, done_bytes: int = 0) -> None:
    """Raises OutputError where the folder of `target` clearly has no room for the result and the segments of it.

    Both exist at once before the segments go. `done_bytes` of segments are there already.
    """
    folder = place_of(target).parent
    needed_bytes = round(_CERTAIN * needed(info, config, aim)) - done_bytes
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(f"{folder} cannot be looked at: {reason(error)}; {remedy(error)}") from error
    if free_bytes < needed_bytes:
        raise OutputError(
            f"writing {target} takes about {_size(needed_bytes)} while it is made, but {folder} has "
            f"{_size(free_bytes)} left; make room or choose another place"
        )


def needed(info: VideoInfo, config: WriteConfig, aim: Aim) -> int:
    """Bytes that a job takes at its end: the video twice, as segments and in the result, and the other streams."""
    source_bytes, seconds = info.size_bytes, (info.duration_us or 0) / 1e6
    if aim.bits_per_s is not None:
        video_bytes = aim.bits_per_s / 8 * seconds
    else:
        pixels = info.stored_width_px * info.stored_height_px * float(info.rate) * seconds
        bits_per_pixel = _LEAST_BITS_PER_PIXEL
        if config.lossless:
            layout = pixel_layout(info.pixel_format)
            samples = sum(2.0 ** -(part.log2_x + part.log2_y) for part in layout.components) if layout else 1.0
            bits_per_pixel = _LEAST_LOSSLESS_SHARE * samples * info.bit_depth
        video_bytes = pixels * bits_per_pixel / 8
    # With a video track alone there is nothing else; of several tracks nobody knows how large each is.
    return round(2 * video_bytes + (max(0.0, source_bytes - video_bytes) if info.other_streams else 0))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
