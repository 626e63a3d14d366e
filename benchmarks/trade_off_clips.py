"""Clips of a size that clear-tiny takes whole, with text burned in."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.environment import ROOT
from clear_rt import frames
from clear_rt.burn.config import BurnConfig
from clear_rt.burn.video import burn
from clear_rt.config import RegionConfig
from clear_rt.shapes import Box

HOME = ROOT / ".cache" / "trade-offs"
# clear-tiny takes 184,320 pixels, 384 x 480; smaller ones leave a whole table to two cores in minutes.
WIDTH_PX, MOST_HEIGHT_PX, STEP_PX = 384, 480, 16
FPS = 25
# Above and below the text, of the height: what `--region auto` leaves.
MARGIN_SHARE = RegionConfig().margin_share


@dataclass(frozen=True, slots=True)
class Case:
    """A clip with text (`source`), without (`clean`), and where the text is; `band` holds the text."""

    name: str
    source: Path
    clean: Path
    mask: Path
    band: Box
    frames: int

    def path(self, part: str) -> Path:
        return HOME / f"{self.name}-{self.frames}-{part}.mp4"


def cases(clips: Iterable[Path], count: int) -> list[Case]:
    """Of every clip the first `count` frames. Raises RuntimeError where one is shorter."""
    HOME.mkdir(parents=True, exist_ok=True)
    return [_case(clip, seed, count) for seed, clip in enumerate(clips)]


def _case(clip: Path, seed: int, count: int) -> Case:
    info = frames.probe(clip)
    height = min(MOST_HEIGHT_PX, round(info.height_px * WIDTH_PX / info.width_px / STEP_PX) * STEP_PX)
    clean, source = (HOME / f"{clip.stem}-{count}-{seed}-{part}.mp4" for part in ("clean", "text"))
    mask = source.with_suffix(".mkv")
    with (
        frames.PlainWriter(clean, WIDTH_PX, height, Fraction(FPS), frames.RGB_TO_WATCH) as writer,
        closing(frames.read(info)) as pictures,
    ):
        written = 0
        for i, frame in enumerate(islice(pictures, count)):
            writer.write(frame.rgb(height, WIDTH_PX), round(i * 1_000_000 / FPS))
            written += 1
    if written < count:
        raise RuntimeError(f"{clip} has {written} frames, expected {count}; take a longer one")
    burn(clean, source, BurnConfig(seed=seed, style="outline"), mask=mask)
    return Case(clip.stem, source, clean, mask, _band(mask, height), count)


def _band(mask: Path, height: int) -> Box:
    """All rows with text in any frame and a margin, in steps of a patch, as wide as the picture."""
    with closing(frames.read(frames.probe(mask))) as pictures:
        covered = np.logical_or.reduce([(frame.planes[0].samples > 0).any(axis=1) for frame in pictures])
    rows, margin = np.flatnonzero(covered), round(height * MARGIN_SHARE)
    top = max(0, int(rows[0]) - margin) // STEP_PX * STEP_PX
    bottom = min(height, -(-(int(rows[-1]) + 1 + margin) // STEP_PX) * STEP_PX)
    return Box(0, top, WIDTH_PX, bottom - top)
