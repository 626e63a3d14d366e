"""Shapes of regions by name: what engines are built for and benchmarks are run at. Names, or WIDTHxHEIGHT[xFRAMES]."""

from __future__ import annotations

import re
from typing import NamedTuple

from clear_rt.errors import ConfigError
from clear_rt.shapes import Box, Size

# Two latents of 8 px each way are one token.
PATCH_PX = 16
LATENT_FRAMES = 4
_SIZES = re.compile(r"(\d{1,5})x(\d{1,5})(?:x(\d{1,5}))?")


class Profile(NamedTuple):
    """`region` at the lower edge of pictures of size `picture`; `frames` of a window, None where that is left open."""

    name: str
    region: Size
    frames: int | None
    picture: Size

    @property
    def window_latents(self) -> int | None:
        """Latents of a window, None where that is left open."""
        return None if self.frames is None else (self.frames - 1) // LATENT_FRAMES + 1

    @property
    def box(self) -> Box:
        """Where the region lies in the picture."""
        return Box(0, self.picture.height_px - self.region.height_px, *self.region)


_HD, _FULL_HD = Size(1280, 720), Size(1920, 1080)
NAMED = {
    profile.name: profile
    for profile in (
        Profile("480p", Size(832, 480), None, Size(832, 480)),
        Profile("720p", _HD, None, _HD),
        Profile("720p-band192", Size(1280, 192), None, _HD),
        Profile("720p-band256", Size(1280, 256), None, _HD),
        Profile("1080p-band272", Size(1920, 272), None, _FULL_HD),
        Profile("live33", Size(1280, 192), 33, _HD),
    )
}
NAMES = tuple(NAMED)


def read_profile(text: str, option: str = "--profile") -> Profile:
    """Raises ConfigError for a name or size that is none, sides that are no multiples of 16, or frames other than
    4k + 1. The picture of a profile that is given by its size is the region itself. `option` is where `text` was given.
    """
    if text in NAMED:
        return NAMED[text]
    sizes = _SIZES.fullmatch(text)
    if sizes is None:
        raise ConfigError(f"{option} must be one of {', '.join(NAMES)}, WxH or WxHxFRAMES, got {text!r}")
    width, height, given = int(sizes[1]), int(sizes[2]), sizes[3]
    if min(width, height) < 1 or width % PATCH_PX or height % PATCH_PX:
        near = "x".join(str(max(1, round(side / PATCH_PX)) * PATCH_PX) for side in (width, height))
        raise ConfigError(f"{option} needs sides that are multiples of {PATCH_PX} px, got {text!r}; try {near}")
    frames = None if given is None else int(given)
    if frames is not None and frames % LATENT_FRAMES != 1:
        near_frames = max(1, round((frames - 1) / LATENT_FRAMES) * LATENT_FRAMES + 1)
        raise ConfigError(f"{option} needs 4k + 1 frames, got {text!r}; try {width}x{height}x{near_frames}")
    return Profile(text, Size(width, height), frames, Size(width, height))
