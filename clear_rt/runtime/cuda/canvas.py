"""Latents under way in the GPU's memory: as `clear_rt.canvas.HostCanvas`, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clear_rt.generator import StepTable
from clear_rt.runtime.cuda.crossing import Floats, to_device
from clear_rt.runtime.cuda.failures import told
from clear_rt.runtime.cuda.latent_ops import LatentOps
from clear_rt.windows import WindowPlan, fade_shares, opens_closes, shares

R = TypeVar("R")


def _told(method: Callable[..., R]) -> Callable[..., R]:
    """The same method, whose errors of torch are errors of ours."""

    @wraps(method)
    def call(self: DeviceCanvas, *arguments: Any) -> R:  # noqa: ANN401 - the method's own
        shape = next((tuple(one.shape) for one in arguments if isinstance(one, Tensor)), ())
        with told(shape):
            return method(self, *arguments)

    return call


class DeviceCanvas:
    """As `clear_rt.canvas.Canvas`; a step's numbers are on the device, where kernels read them."""

    def __init__(self, plan: WindowPlan, table: StepTable, device: torch.device, ops: LatentOps) -> None:
        self._plan, self._device, self._ops = plan, device, ops
        self._shares, self._fades = shares(plan), fade_shares(plan)
        self._changes = self._put(np.array([table.change(step) for step in range(len(table.rows))]))
        self._sigmas = self._put(np.array(table.sigmas, np.float32))
        self._steps = torch.arange(len(table.rows), device=device)

    @_told
    def placed(self, latents: Sequence[Floats]) -> Tensor:
        return self._put(np.stack(latents, axis=1, dtype=np.float32))

    @_told
    def stacked(self, latents: Sequence[Tensor]) -> Tensor:
        return torch.stack(tuple(latents), dim=1)

    @_told
    def continued(self, latents: Tensor, start: int, stop: int, new: Tensor) -> Tensor:
        return torch.cat((latents[:, start:stop], new), dim=1)

    @_told
    def part(self, latents: Tensor, start: int, stop: int) -> Tensor:
        return latents[:, start:stop].clone(memory_format=torch.contiguous_format)

    @_told
    def latent(self, latents: Tensor, k: int) -> Tensor:
        return latents[:, k].clone(memory_format=torch.contiguous_format)

    def form(self, array: Tensor) -> str:
        return f"{str(array.dtype).removeprefix('torch.')} {[*array.shape]}"

    @_told
    def not_finite(self, velocity: Tensor) -> int:
        return velocity.numel() - int(torch.count_nonzero(velocity.isfinite()))

    @_told
    def average(self, latents: Tensor, sums: Tensor, velocity: Tensor, start: int, i: int, step: int) -> None:
        opens, closes = map(self._put, opens_closes(self._plan, i))
        weights = self._put(self._shares[i]), opens, closes
        self._ops.step(latents, sums, velocity, start, weights, self._changes, self._due(step))

    @_told
    def move(self, latents: Tensor, velocity: Tensor, step: int) -> None:
        """A window step whose window is alone."""
        alone = torch.ones(latents.shape[1], device=self._device)
        weights = alone, alone.bool(), alone.bool()
        self._ops.step(latents, torch.empty_like(latents), velocity, 0, weights, self._changes, self._due(step))

    @_told
    def hold(self, latents: Tensor, held: Tensor, noise: Tensor, step: int) -> None:
        self._ops.hold(latents, held, noise, self._sigmas, self._due(step))

    @_told
    def fade(self, latents: Tensor, held: Tensor, i: int) -> None:
        share, kept = map(self._put, self._fades[i])
        self._ops.fade(latents, held, share, kept)

    def _due(self, step: int) -> Tensor:
        return self._steps[step : step + 1]

    def _put(self, array: npt.NDArray[np.generic]) -> Tensor:
        return to_device(array, self._device)
