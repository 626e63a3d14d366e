"""Windows of latents for the transformer's training, out of the shards of `training.latent_pairs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

VALIDATION_EVERY = 12
# Side of the piece of a clip that goes into a batch, in tokens of 16 px; a clip has 10.
PIECE_TOKENS = 6
# Pieces that lie side by side in one window. A region is a band, 40 tokens wide at 640 px: positions and numbers of
# keys that training never showed would be strange to the model; what lies beyond a seam has nothing to do with it.
ROWS_OF_PIECES = (1, 3, 6, 8)
TEXT_SHARE = 0.8
# Windows without a caption: the model must leave alone what needs nothing.
CLEAN_SHARE = 0.08


class Windows(NamedTuple):
    """Latents [B, 16, L, h, w] of clean video and of drafts, and the prior's map of the subtitled video behind these.

    The map is on the grid of tokens, [B, L, h / 2, w / 2], 0..1.
    """

    clean: Tensor
    control: Tensor
    maps: Tensor


class LatentPairs:
    """The shards as one indexable set, in memory; every twelfth shard is kept for validation."""

    def __init__(self, folder: Path) -> None:
        self._split: dict[bool, list[tuple[Any, Any, Any]]] = {False: [], True: []}
        for number, path in enumerate(sorted(folder.glob("control-???.npy"))):
            arrays = [np.load(path.with_name(path.name.replace("control", n))) for n in ("clean", "control", "maps")]
            self._split[number % VALIDATION_EVERY == VALIDATION_EVERY // 2 - 1] += list(zip(*arrays, strict=True))

    def count(self, validation: bool) -> int:
        return len(self._split[validation])

    def batch(self, rng: np.random.Generator, pieces: int) -> Windows:
        """About `pieces` pieces, as windows of a number of them side by side that is drawn anew for every batch."""
        across = min(int(rng.choice(ROWS_OF_PIECES)), pieces)
        windows = [[self._piece(rng) for _ in range(across)] for _ in range(pieces // across)]
        return _stacked([Windows(*(np.concatenate(part, -1) for part in zip(*row, strict=True))) for row in windows])

    def validation(self) -> Windows:
        """Whole clips of the validation shards; always the same."""
        rows = self._split[True]
        chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(len(rows), 48)).astype(int)]
        return _stacked([Windows(*row) for row in chosen])

    def _piece(self, rng: np.random.Generator) -> Windows:
        clean, control, found = self._split[False][int(rng.integers(self.count(False)))]
        y, x = _corner(found, rng)
        tokens = np.s_[:, y : y + PIECE_TOKENS, x : x + PIECE_TOKENS]
        latents = np.s_[:, :, 2 * y : 2 * (y + PIECE_TOKENS), 2 * x : 2 * (x + PIECE_TOKENS)]
        if rng.random() < CLEAN_SHARE:
            return Windows(clean[latents], clean[latents], np.zeros_like(found[tokens]))
        return Windows(clean[latents], control[latents], found[tokens])


def _corner(found: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of a piece's first token: mostly one that puts text into it."""
    rows, columns = np.nonzero(found.max(axis=0) > 127)
    last = found.shape[-1] - PIECE_TOKENS
    if rows.size and rng.random() < TEXT_SHARE:
        i = int(rng.integers(rows.size))
        y, x = (int(at[i]) - int(rng.integers(PIECE_TOKENS)) for at in (rows, columns))
        return int(np.clip(y, 0, last)), int(np.clip(x, 0, last))
    return int(rng.integers(last + 1)), int(rng.integers(last + 1))


def _stacked(windows: list[Windows]) -> Windows:
    clean, control, maps = (torch.from_numpy(np.stack(part)).float() for part in zip(*windows, strict=True))
    return Windows(clean, control, maps / 255)
