"""Windows as they were encoded, of any size, out of the shards of `training.encoded_videos`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from clear_rt.errors import ConfigError
from training.latent_data import VALIDATION_EVERY, Windows

# A window of the real model takes as long as a step; this many at every checkpoint are a third of the training.
VALIDATION_WINDOWS = 8
_VALIDATION_SHARD = VALIDATION_EVERY // 2 - 1


class WholeWindows:
    """The shards as one set, read from the disk when drawn; of every twelve the sixth is kept for validation.

    Arrays as of `training.latent_pairs`, [N, 16, L, h, w] and [N, L, h / 2, w / 2], in sizes that may differ from shard
    to shard. Raises ConfigError where there are fewer than six shards.
    """

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("control-???.npy"))
        if len(paths) <= _VALIDATION_SHARD:
            raise ConfigError(
                f"expected {_VALIDATION_SHARD + 1} shards control-NNN.npy or more in {folder}, the sixth of them for "
                f"validation, found {len(paths)}; encode more videos"
            )
        shards = [[_opened(path, name) for name in ("clean", "control", "maps")] for path in paths]
        self._validation = [s for n, s in enumerate(shards) if n % VALIDATION_EVERY == _VALIDATION_SHARD]
        self._training = [s for n, s in enumerate(shards) if n % VALIDATION_EVERY != _VALIDATION_SHARD]
        counts = np.array([len(clean) for clean, _, _ in self._training])
        self._shares = counts / counts.sum()

    def batch(self, rng: np.random.Generator, pieces: int) -> Windows:
        """So many windows of one shard, the shard by how many it has."""
        shard = self._training[int(rng.choice(len(self._training), p=self._shares))]
        return _windows(shard, rng.integers(0, len(shard[0]), pieces))

    def validation(self) -> Windows:
        """The same windows every time, 8 at most, of the first shard kept and of others of its size."""
        size = self._validation[0][0].shape[1:]
        alike = [shard for shard in self._validation if shard[0].shape[1:] == size]
        each = -(-VALIDATION_WINDOWS // len(alike))
        parts = [_windows(shard, np.arange(min(len(shard[0]), each))) for shard in alike[:VALIDATION_WINDOWS]]
        return Windows(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _opened(control: Path, name: str) -> Any:  # noqa: ANN401 - a mapped array
    return np.load(control.with_name(control.name.replace("control", name)), mmap_mode="r")


def _windows(shard: list[Any], rows: np.ndarray) -> Windows:
    clean, control, maps = (torch.from_numpy(array[rows]).float() for array in shard)
    return Windows(clean, control, maps / 255)
