"""Batches of the VAE's training and validation out of the shards of `training.vae_clips`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Clips, frames, height, width: 180k to 187k pixels a step. Small pictures for variety, long and large ones for reach.
SHAPES = ((4, 9, 64, 80), (2, 9, 96, 104), (1, 9, 144, 144), (1, 17, 96, 112))
VALIDATION_CLIPS, VALIDATION_FRAMES = 24, 9
# Half of the crops have a caption of their own; drawn in two of five times: the encoder must be able to see captions in
# the control video, the decoder will hardly ever have to make one.
DRAWN_SHARE = 0.4


class Clips:
    """The shards as one indexable set; every twelfth shard is kept for validation. Read from disk as they are used."""

    def __init__(self, folder: Path) -> None:
        self._split: dict[bool, list[tuple[Any, Any, int]]] = {False: [], True: []}
        for number, path in enumerate(sorted(folder.glob("clips-???.npy"))):
            pictures = np.load(path, mmap_mode="r")
            captions = np.load(path.with_name(path.name.replace("clips", "captions")), mmap_mode="r")
            self._split[number % 12 == 5] += [(pictures, captions, row) for row in range(len(pictures))]

    def count(self, validation: bool) -> int:
        return len(self._split[validation])

    def batch(self, rng: np.random.Generator, clips: int = 1) -> Tensor:
        """Clips [B, 3, T, H, W] in [-1, 1] of one of SHAPES, `clips` times as many; channels last in memory.

        Random places, stretches of time, captions, mirrored, brighter or darker; now and then at double speed.
        """
        count, *shape = SHAPES[int(rng.integers(len(SHAPES)))]
        return self.drawn(rng, (count * clips, *shape))

    def drawn(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
        """As `batch`, of a given number, frames, height and width."""
        count, frames, height, width = shape
        return _tensor(np.stack([self._crop(rng, frames, height, width) for _ in range(count)]))

    def _crop(self, rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
        pictures, captions, row = self._split[False][int(rng.integers(self.count(False)))]
        total, rows, columns = pictures.shape[1:4]
        pace = 2 if 2 * (frames - 1) < total and rng.random() < 0.25 else 1
        start = int(rng.integers(total - pace * (frames - 1)))
        y, x = int(rng.integers(rows - height + 1)), int(rng.integers(columns - width + 1))
        window = (slice(y, y + height), slice(x, x + width))
        clip = pictures[(row, slice(start, start + pace * (frames - 1) + 1, pace), *window)].astype(np.float32)
        if rng.random() < 0.5:
            clip = clip[:, :, ::-1]
        if rng.random() < 0.5:
            clip = np.clip(clip * rng.uniform(0.6, 1.2) * rng.uniform(0.92, 1.08, 3).astype(np.float32), 0, 255)
        caption = captions[(row, *window)]
        return _drawn(clip, caption) if rng.random() < DRAWN_SHARE else clip

    def validation(self) -> list[tuple[Tensor, Tensor]]:
        """Clips [1, 3, 9, H, W], captions drawn in, and where their text is [H, W] (bool); always the same."""
        every = self._split[True]
        chosen = [every[i] for i in np.linspace(0, len(every) - 1, min(VALIDATION_CLIPS, len(every))).astype(int)]
        found = []
        for pictures, captions, row in chosen:
            clip = _drawn(pictures[row, :VALIDATION_FRAMES].astype(np.float32), captions[row])
            found.append((_tensor(clip[None]), torch.from_numpy(captions[row][..., 3] > 0)))
        return found


def _drawn(clip: np.ndarray, caption: np.ndarray) -> np.ndarray:
    alpha = caption[..., 3:].astype(np.float32) / 255
    return clip + (caption[..., :3] - clip) * alpha


def _tensor(clips: np.ndarray) -> Tensor:
    """[B, T, H, W, 3] of 0..255 to a view [B, 3, T, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(clips, np.float32) / 127.5 - 1).permute(0, 4, 1, 2, 3)
