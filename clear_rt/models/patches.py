"""Latents to patches of 2 x 2 and back. The two orders differ, as in the checkpoint (reference.md 1.3)."""

from __future__ import annotations

from torch import Tensor


def patchify(latents: Tensor) -> Tensor:
    """[B, C, L, 2 rows, 2 columns] -> [B, N, 4 C], ordered channel, row, column within a token."""
    batch, channels, count, height, width = latents.shape
    x = latents.reshape(batch, channels, count, height // 2, 2, width // 2, 2)
    return x.permute(0, 2, 3, 5, 1, 4, 6).reshape(batch, count * (height // 2) * (width // 2), 4 * channels)


def unpatchify(values: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """[B, N, 4 C], ordered row, column, channel within a token -> [B, C, L, 2 rows, 2 columns]."""
    latents, rows, columns = grid
    batch, channels = values.shape[0], values.shape[2] // 4
    x = values.reshape(batch, latents, rows, columns, 2, 2, channels).permute(0, 6, 1, 2, 4, 3, 5)
    return x.reshape(batch, channels, latents, 2 * rows, 2 * columns)
