"""Latents under way and the arithmetic of denoising, on the side where an engine keeps its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clear_rt.generator import StepTable
from clear_rt.windows import WindowPlan, fade_shares, opens_closes, shares

Floats = NDArray[np.float32]
# Whatever an engine's networks take and return: numpy arrays, or what lies in a GPU's memory.
Array = Any


class Canvas(Protocol):
    """One run's arithmetic. Arrays are float32 [C, L, h, w] where not said otherwise, and results are copies.

    Equal bit for bit on every side: the same operations in the same order, each rounded on its own.
    """

    def placed(self, latents: Sequence[Floats]) -> Array:
        """Latents [C, h, w] of the host, L of them."""
        ...

    def stacked(self, latents: Sequence[Array]) -> Array:
        """Latents [C, h, w] of this side, L of them."""
        ...

    def continued(self, latents: Array, start: int, stop: int, new: Array) -> Array:
        """Latents start..stop, and the new ones behind them."""
        ...

    def part(self, latents: Array, start: int, stop: int) -> Array: ...

    def latent(self, latents: Array, k: int) -> Array:
        """Latent k, [C, h, w]."""
        ...

    def form(self, array: Array) -> str:
        """Type and shape, as "float32 [16, 21, 24, 160]"."""
        ...

    def not_finite(self, velocity: Array) -> int:
        """How many values are NaN or infinite."""
        ...

    def average(self, latents: Array, sums: Array, velocity: Array, start: int, i: int, step: int) -> None:
        """A step of window i, whose latents begin at `start`: its share of the velocity joins that of its neighbours.

        Sets sums where window i is the first over a latent, adds to them elsewhere, and moves latents by
        change * sums where it is the last.
        """
        ...

    def move(self, latents: Array, velocity: Array, step: int) -> None:
        """latents += change * velocity."""
        ...

    def hold(self, latents: Array, held: Array, noise: Array, step: int) -> None:
        """Sets the first latents, as many as are held, to (1 - sigma) * held + sigma * noise."""
        ...

    def fade(self, latents: Array, held: Array, i: int) -> None:
        """Mixes what is held into the first latents, as much as counts beside window i."""
        ...


class HostCanvas:
    """As `Canvas`, in numpy."""

    def __init__(self, plan: WindowPlan, table: StepTable) -> None:
        self._plan, self._table = plan, table
        self._shares, self._fades = shares(plan), fade_shares(plan)

    def placed(self, latents: Sequence[Floats]) -> Floats:
        return np.stack(latents, axis=1, dtype=np.float32)

    def stacked(self, latents: Sequence[Floats]) -> Floats:
        return np.stack(latents, axis=1, dtype=np.float32)

    def continued(self, latents: Floats, start: int, stop: int, new: Floats) -> Floats:
        return np.concatenate((latents[:, start:stop], new), axis=1)

    def part(self, latents: Floats, start: int, stop: int) -> Floats:
        return latents[:, start:stop].copy()

    def latent(self, latents: Floats, k: int) -> Floats:
        return latents[:, k].copy()

    def form(self, array: Floats) -> str:
        return f"{array.dtype} {[*array.shape]}"

    def not_finite(self, velocity: Floats) -> int:
        return int(velocity.size - np.count_nonzero(np.isfinite(velocity)))

    def average(self, latents: Floats, sums: Floats, velocity: Floats, start: int, i: int, step: int) -> None:
        change = self._table.change(step)
        opens, closes = opens_closes(self._plan, i)
        for k, share in enumerate(self._shares[i]):
            added = velocity[:, k] * share
            if not opens[k]:
                added += sums[:, start + k]
            sums[:, start + k] = added
            if closes[k]:
                added *= change
                latents[:, start + k] += added

    def move(self, latents: Floats, velocity: Floats, step: int) -> None:
        latents += velocity * self._table.change(step)

    def hold(self, latents: Floats, held: Floats, noise: Floats, step: int) -> None:
        shared, sigma = held.shape[1], np.float32(self._table.sigmas[step])
        latents[:, :shared] = (1 - sigma) * held + sigma * noise[:, :shared]

    def fade(self, latents: Floats, held: Floats, i: int) -> None:
        share, kept = (weights[:, None, None] for weights in self._fades[i])
        latents[:, : held.shape[1]] *= share
        latents[:, : held.shape[1]] += held * kept
