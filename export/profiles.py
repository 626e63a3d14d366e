"""Shapes that engines are built for, out of profiles by name or size (`clear_rt.profiles`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clear_rt.errors import ConfigError
from clear_rt.profiles import NAMES, read_profile
from clear_rt.shapes import Size

__all__ = ["NAMES", "Profiles", "read_profiles"]


class Profiles(NamedTuple):
    """Sizes of regions, largest first, and the latents of the one window that a bundle has, None where left open."""

    sizes: tuple[Size, ...]
    window_latents: int | None


def read_profiles(texts: Sequence[str]) -> Profiles:
    """Raises ConfigError as `read_profile`, and for frames that differ: a bundle has one window."""
    found = [read_profile(text) for text in texts]
    frames = sorted({profile.frames for profile in found if profile.frames is not None})
    if len(frames) > 1:
        raise ConfigError(
            f"--profile must name one number of frames, as a bundle has one window, got "
            f"{' and '.join(map(str, frames))}; build a bundle for each"
        )
    sizes = sorted({profile.region for profile in found}, key=lambda size: (-size.width_px * size.height_px, size))
    windows = {profile.window_latents for profile in found} - {None}
    return Profiles(tuple(sizes), next(iter(windows), None))
