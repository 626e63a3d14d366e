"""The memory of a removal, looked at before its engine is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from clear_rt.bundle import Bundle
from clear_rt.config import RunConfig
from clear_rt.frames import probe
from clear_rt.memory_plan.room import room_for
from clear_rt.shapes import Box, Size, whole

Admit = Callable[[Size, Sequence[Box]], None]


def admit_removal(video: Path, config: RunConfig, bundle: Bundle, max_memory: str | None) -> Admit | None:
    """Looks at the region that was asked for; where regions are found on the way, at what any of them would take.

    Returns what regions are to be shown to once they are found, None where nothing is planned.
    Raises EngineError where a run of the model does not fit, ConfigError as `room_for`, and what `probe` raises.
    """
    if config.composite.fill != "model":
        return None
    room = room_for(bundle, config.engine, config.kernels, config.denoise, max_memory)
    if room is None:
        return None
    if config.region.mode == "auto":
        room.admit(Size(1, 1), ())
        return room.admit
    info = probe(video, config.read)
    picture = Size(info.width_px, info.height_px)
    # A box outside of the picture is refused where regions are found.
    clipped = [box.clipped(picture) for box in config.region.boxes or (whole(picture),)]
    room.admit(picture, [box for box in clipped if box is not None])
    return room.admit
