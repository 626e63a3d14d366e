"""Shapes that engines are built for: names that people know, or WIDTHxHEIGHT with or without xFRAMES."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from clear_rt.errors import ConfigError
from clear_rt.export.config import PATCH_PX
from clear_rt.shapes import Size

# A window of 81 frames unless said otherwise.
_NAMED: dict[str, tuple[int, int, int | None]] = {
    "480p": (832, 480, None),
    "720p": (1280, 720, None),
    "720p-band192": (1280, 192, None),
    "720p-band256": (1280, 256, None),
    "1080p-band272": (1920, 272, None),
    "live33": (1280, 192, 33),
}
NAMES = tuple(_NAMED)
LATENT_FRAMES = 4
_SIZES = re.compile(r"(\d{1,5})x(\d{1,5})(?:x(\d{1,5}))?")


class Profiles(NamedTuple):
    """Sizes of regions, largest first, and the latents of the one window that a bundle has, None where left open."""

    sizes: tuple[Size, ...]
    window_latents: int | None


def read_profiles(texts: Sequence[str]) -> Profiles:
    """Raises ConfigError for a name or size that is none, sides that are no multiples of 16, frames other than 4k + 1,
    or frames that differ: a bundle has one window.
    """
    found = [_read(text) for text in texts]
    frames = sorted({frames for _, frames in found if frames is not None})
    if len(frames) > 1:
        raise ConfigError(
            f"--profile must name one number of frames, as a bundle has one window, got "
            f"{' and '.join(map(str, frames))}; build a bundle for each"
        )
    sizes = sorted({size for size, _ in found}, key=lambda size: (-size.width_px * size.height_px, size))
    return Profiles(tuple(sizes), (frames[0] - 1) // LATENT_FRAMES + 1 if frames else None)


def _read(text: str) -> tuple[Size, int | None]:
    if text in _NAMED:
        width, height, frames = _NAMED[text]
        return Size(width, height), frames
    sizes = _SIZES.fullmatch(text)
    if sizes is None:
        raise ConfigError(f"--profile must be one of {', '.join(NAMES)}, WxH or WxHxFRAMES, got {text!r}")
    width, height, given = int(sizes[1]), int(sizes[2]), sizes[3]
    if min(width, height) < 1 or width % PATCH_PX or height % PATCH_PX:
        near = "x".join(str(max(1, round(side / PATCH_PX)) * PATCH_PX) for side in (width, height))
        raise ConfigError(f"--profile needs sides that are multiples of {PATCH_PX} px, got {text!r}; try {near}")
    frames = None if given is None else int(given)
    if frames is not None and frames % LATENT_FRAMES != 1:
        near_frames = max(1, round((frames - 1) / LATENT_FRAMES) * LATENT_FRAMES + 1)
        raise ConfigError(f"--profile needs 4k + 1 frames, got {text!r}; try {width}x{height}x{near_frames}")
    return Size(width, height), frames
