"""The videos of one comparison, read side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clear_rt.errors import ConfigError, InputError
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.probe import probe
from clear_rt.frames.read import read
from clear_rt.metrics.masks import mask_from_difference

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Videos:
    """`result` beside `clean`, what it should equal, or beside `source`, the subtitled input, or beside both.

    `mask` is a gray video as `burn` writes it. Raises ConfigError where there is neither clean nor source.
    """

    result: Path
    clean: Path | None = None
    source: Path | None = None
    mask: Path | None = None

    def __post_init__(self) -> None:
        if self.clean is None and self.source is None:
            raise ConfigError(
                f"expected something to compare {self.result} with, got nothing; give --clean or --source, or both"
            )

    @property
    def paths(self) -> dict[str, Path]:
        """By role, those that are there."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: path for name, path in found.items() if path is not None}


@dataclass(frozen=True, slots=True)
class Together:
    """One frame of every video by its role: the frames, and RGB uint8 [H, W, 3] of all but the mask.

    `mask` is bool [H, W], True where text was: as given, or else where source and clean, or source and result where
    there is no clean video, differ (`metrics.masks`); None where there is nothing to tell by.
    """

    frames: dict[str, Frame]
    rgb: dict[str, UInt8]
    mask: Bool | None


def probed(videos: Videos) -> dict[str, VideoInfo]:
    """What is known of every video, by role.

    Raises InputError where one cannot be read, sizes differ, or the mask is not gray.
    """
    infos = {name: probe(path) for name, path in videos.paths.items()}
    role = "clean" if "clean" in infos else "source"
    reference = infos[role]
    for name, info in infos.items():
        if (info.height_px, info.width_px) != (reference.height_px, reference.width_px):
            raise InputError(
                f"{name} {info.path} is {info.width_px}x{info.height_px}, {role} {reference.path} is "
                f"{reference.width_px}x{reference.height_px}; give videos of one size"
            )
    if "mask" in infos and not infos["mask"].pixel_format.startswith("gray"):
        raise InputError(
            f"mask {infos['mask'].path} is a {infos['mask'].pixel_format} video, expected gray; "
            "give the file that clear-rt burn --mask wrote, or leave it out"
        )
    return infos


def lockstep(infos: dict[str, VideoInfo]) -> Iterator[Together]:
    """All frames in order. Raises InputError where a video cannot be decoded or ends before the others."""
    size = infos["result"].height_px, infos["result"].width_px
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(read(info))) for info in infos.values()]
        for index, found in enumerate(zip_longest(*readers)):
            frames = {name: frame for name, frame in zip(infos, found, strict=True) if frame is not None}
            if len(frames) < len(infos):
                ended, going = next(name for name in infos if name not in frames), next(iter(frames))
                raise InputError(
                    f"{ended} {infos[ended].path} ends after {index} frames, {going} {infos[going].path} goes on; "
                    "give videos of the same frames"
                )
            rgb = {name: frame.rgb(*size) for name, frame in frames.items() if name != "mask"}
            yield Together(frames, rgb, _mask(frames.get("mask"), rgb))


def _mask(given: Frame | None, rgb: dict[str, UInt8]) -> Bool | None:
    if given is not None:
        inside: Bool = given.planes[0].samples > 0
        return inside
    return mask_from_difference(rgb["source"], rgb.get("clean", rgb["result"])) if "source" in rgb else None
