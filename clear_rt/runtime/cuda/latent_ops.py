"""What a canvas on the GPU computes with: our kernels, or their references in torch."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from clear_rt.kernels.hold_overlap import fade_overlap, fade_overlap_ref, hold_overlap, hold_overlap_ref
from clear_rt.kernels.window_step import window_step, window_step_ref


class LatentOps(Protocol):
    """In place, on float32; `changes` and `sigmas` [S] hold every step's, of which `step` int64 [1] says which counts.

    As `clear_rt.kernels.window_step` and `hold_overlap` describe them.
    """

    def step(
        self,
        latents: Tensor,
        sums: Tensor,
        velocity: Tensor,
        start: int,
        weights: tuple[Tensor, Tensor, Tensor],
        changes: Tensor,
        step: Tensor,
    ) -> None:
        """`weights`: shares, opens and closes [W]."""

    def hold(self, latents: Tensor, held: Tensor, noise: Tensor, sigmas: Tensor, step: Tensor) -> None: ...

    def fade(self, latents: Tensor, held: Tensor, shares: Tensor, kept: Tensor) -> None: ...


class TorchLatentOps:
    """As `LatentOps`, by the references: on any device."""

    def step(
        self,
        latents: Tensor,
        sums: Tensor,
        velocity: Tensor,
        start: int,
        weights: tuple[Tensor, Tensor, Tensor],
        changes: Tensor,
        step: Tensor,
    ) -> None:
        moved, total = window_step_ref(latents, sums, velocity, start, *weights, changes[step])
        latents.copy_(moved)
        sums.copy_(total)

    def hold(self, latents: Tensor, held: Tensor, noise: Tensor, sigmas: Tensor, step: Tensor) -> None:
        latents.copy_(hold_overlap_ref(latents, held, noise, sigmas[step]))

    def fade(self, latents: Tensor, held: Tensor, shares: Tensor, kept: Tensor) -> None:
        latents.copy_(fade_overlap_ref(latents, held, shares, kept))


class KernelLatentOps:
    """As `LatentOps`, on a GPU."""

    def step(
        self,
        latents: Tensor,
        sums: Tensor,
        velocity: Tensor,
        start: int,
        weights: tuple[Tensor, Tensor, Tensor],
        changes: Tensor,
        step: Tensor,
    ) -> None:
        window_step(latents, sums, velocity, start, *weights, changes, step)

    def hold(self, latents: Tensor, held: Tensor, noise: Tensor, sigmas: Tensor, step: Tensor) -> None:
        hold_overlap(latents, held, noise, sigmas, step)

    def fade(self, latents: Tensor, held: Tensor, shares: Tensor, kept: Tensor) -> None:
        fade_overlap(latents, held, shares, kept)
