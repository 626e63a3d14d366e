"""Backgrounds of the pairs: runs of pictures of the training clips, stills that the camera pans over, and variations.

What they are drawn from, and what they must never be, stands in `training.materials`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from training.materials import TRAINING, fetch_clips, fetch_stills

UInt8 = npt.NDArray[np.uint8]
Clip = list[UInt8]

CLIP_FRAMES = 3
# Frames, both ends included: ten whole shots of bbb.mp4, none of which has text, kept for looking for false alarms.
SET_ASIDE = (
    (378, 552), (1531, 1665), (2194, 2393), (3578, 3743), (4332, 4462),
    (5579, 5808), (6833, 7012), (7769, 8023), (9148, 9378), (10637, 10841),
)  # fmt: skip
# Besides, these of bbb.mp4 overlap the held-out bigbuckbunny.mp4 or carry lettering.
LEFT_OUT = {"bbb.mp4": ((850, 1350), (5100, 5300), *SET_ASIDE)}


@dataclass(frozen=True, slots=True)
class Stretch:
    """One shard's worth of background: frames start..stop of a video, or a still (stop == 0)."""

    path: Path
    start: int
    stop: int
    every: int
    pairs_per_clip: int


def stretches() -> list[Stretch]:
    """All backgrounds in a fixed order. Raises InputError where they cannot be fetched."""
    return plan(fetch_clips(TRAINING), fetch_stills())


def plan(clips: Mapping[str, Path], stills: Sequence[Path]) -> list[Stretch]:
    """The stretches of clips, given by name, and of stills; their order numbers the shards."""
    found = [Stretch(clips["vtest.avi"], s, s + 200, 40, 12) for s in range(0, 780, 200)]
    found += [Stretch(clips["box.mp4"], 0, 450, 20, 8), Stretch(clips["cup.mp4"], 0, 210, 20, 8)]
    for start in range(0, 14_300, 650):
        found.append(Stretch(clips["bbb.mp4"], start, start + 650, 24, 8))
    return found + [Stretch(path, 0, 0, 1, 50) for path in stills]


def left_out(name: str, index: int, frames: int = CLIP_FRAMES) -> bool:
    """Whether a run of pictures with frame `index` of the clip `name` in it could reach into a part left out."""
    return any(first <= index + frames and index <= last for first, last in LEFT_OUT.get(name, ()))


def footage(stretch: Stretch, frames: int = CLIP_FRAMES) -> Iterator[Clip]:
    """Runs of so many consecutive pictures, RGB, at most 720 rows."""
    with av.open(str(stretch.path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        assert stream.average_rate is not None
        step, start = stream.time_base * stream.average_rate, stream.start_time or 0
        container.seek(round(stretch.start / step), stream=stream)
        clip: Clip = []
        for frame in container.decode(stream):
            index = round(((frame.pts or 0) - start) * step)
            if index >= stretch.stop:
                return
            unwanted = index < stretch.start or left_out(stretch.path.name, index, frames)
            if unwanted or index % stretch.every >= frames:
                continue
            clip = [] if index % stretch.every == 0 else clip
            clip.append(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
            if len(clip) == frames:
                yield clip


def moving_still(picture: Image.Image, rng: np.random.Generator) -> Clip:
    """A slow pan over a random window of a still, 720 rows at most."""
    width, height = picture.size
    share = rng.uniform(0.35, 0.95)
    window_h = min(height, width * 9 / 16) * share
    window_w = window_h * 16 / 9
    x, y = rng.uniform(0, width - window_w - 8), rng.uniform(0, max(height - window_h - 8, 1))
    dx, dy = rng.normal(0, 2, 2)
    clip = []
    for t in range(CLIP_FRAMES):
        x_t, y_t = np.clip(x + t * dx, 0, width - window_w), np.clip(y + t * dy, 0, height - window_h)
        clip.append(
            np.asarray(
                picture.resize((1280, 720), Image.Resampling.BILINEAR, (x_t, y_t, x_t + window_w, y_t + window_h))
            )
        )
    return clip


def _resize(clip: Clip, width: int, height: int) -> Clip:
    return [
        np.asarray(
            Image.fromarray(f).resize(
                (width, height), Image.Resampling.BOX if height < f.shape[0] else Image.Resampling.BICUBIC
            )
        )
        for f in clip
    ]


def recast(clip: Clip, rng: np.random.Generator) -> Clip:
    """Another size, sometimes portrait, sometimes mirrored, sometimes darker or brighter."""
    height = int(rng.choice([240, 288, 360, 480, 720], p=[0.08, 0.07, 0.4, 0.25, 0.2]))
    if rng.random() < 0.15:
        h, w = clip[0].shape[:2]
        new_w = int(h * 9 / 16)
        x = int(rng.integers(0, w - new_w))
        clip, height = [f[:, x : x + new_w] for f in clip], round(height * 16 / 9)
    h, w = clip[0].shape[:2]
    clip = _resize(clip, round(w * height / h) // 2 * 2, height // 2 * 2)
    if rng.random() < 0.5:
        clip = [f[:, ::-1] for f in clip]
    if rng.random() < 0.4:
        gain, gamma = rng.uniform(0.5, 1.2), rng.uniform(0.7, 1.5)
        table = np.clip(255 * gain * (np.arange(256) / 255) ** gamma, 0, 255).astype(np.uint8)
        clip = [table[f] for f in clip]
    return [np.ascontiguousarray(f) for f in clip]
