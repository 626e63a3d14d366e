"""Latents under way in the GPU's memory, by our compiled kernels: as `clear_rt.canvas.HostCanvas`, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_rt.generator import StepTable
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.copies import copy
from clear_rt.runtime.slim.hold_overlap import fade_overlap, hold_overlap
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.window_step import window_step
from clear_rt.runtime.trt.device import Device
from clear_rt.windows import WindowPlan, fade_shares, opens_closes, shares

Floats = npt.NDArray[np.float32]
_NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


class SlimCanvas:
    """As `clear_rt.canvas.Canvas`; a step's numbers are on the GPU, where kernels read them."""

    def __init__(self, plan: WindowPlan, table: StepTable, device: Device, kernels: Kernels) -> None:
        self._plan, self._device, self._kernels = plan, device, kernels
        self._stream = device.networks.stream
        self._shares, self._fades = shares(plan), fade_shares(plan)
        steps = len(table.rows)
        self._changes = self._put(np.array([table.change(step) for step in range(steps)], np.float32))
        self._sigmas = self._put(np.array(table.sigmas, np.float32))
        # Kernels want each of them on 16 bytes.
        self._steps = self._put(np.stack((np.arange(steps), np.zeros(steps, np.int64)), axis=1))

    def placed(self, latents: Sequence[Floats]) -> DeviceArray:
        return self._put(np.stack(latents, axis=1, dtype=np.float32))

    def stacked(self, latents: Sequence[DeviceArray]) -> DeviceArray:
        channels, *size = latents[0].shape
        made = self._empty((channels, len(latents), *size))
        for k, latent in enumerate(latents):
            copy(self._stream, made[:, k], latent)
        return made

    def continued(self, latents: DeviceArray, start: int, stop: int, new: DeviceArray) -> DeviceArray:
        channels, count, *size = new.shape
        made = self._empty((channels, stop - start + count, *size))
        copy(self._stream, made[:, : stop - start], latents[:, start:stop])
        copy(self._stream, made[:, stop - start :], new)
        return made

    def part(self, latents: DeviceArray, start: int, stop: int) -> DeviceArray:
        return self._own(latents[:, start:stop])

    def latent(self, latents: DeviceArray, k: int) -> DeviceArray:
        return self._own(latents[:, k])

    def form(self, array: DeviceArray) -> str:
        return f"{_NAMES.get(array.dtype, array.dtype)} {[*array.shape]}"

    def not_finite(self, velocity: DeviceArray) -> int:
        """Counted on the host: one window's latents are 5 MB at 1280x192."""
        there = self._device.crossing.to_host(self._stream, velocity)
        return int(there.size - np.count_nonzero(np.isfinite(there)))

    def average(
        self, latents: DeviceArray, sums: DeviceArray, velocity: DeviceArray, start: int, i: int, step: int
    ) -> None:
        opens, closes = opens_closes(self._plan, i)
        self._step(latents, sums, velocity, start, (self._shares[i], opens, closes), step)

    def move(self, latents: DeviceArray, velocity: DeviceArray, step: int) -> None:
        """A window step whose window is alone."""
        count = latents.shape[1]
        alone = np.ones(count, np.float32), np.ones(count, bool), np.ones(count, bool)
        self._step(latents, self._empty(latents.shape), velocity, 0, alone, step)

    def hold(self, latents: DeviceArray, held: DeviceArray, noise: DeviceArray, step: int) -> None:
        hold_overlap(self._kernels, self._stream, latents, held, noise, self._sigmas, self._due(step))

    def fade(self, latents: DeviceArray, held: DeviceArray, i: int) -> None:
        share, kept = map(self._put, self._fades[i])
        fade_overlap(self._kernels, self._stream, latents, held, share, kept)

    def _step(
        self,
        latents: DeviceArray,
        sums: DeviceArray,
        velocity: DeviceArray,
        start: int,
        weights: tuple[npt.NDArray[Any], ...],
        step: int,
    ) -> None:
        share, opens, closes = map(self._put, weights)
        window_step(
            self._kernels, self._stream, latents, sums, velocity, start, share, opens, closes, self._changes,
            self._due(step),
        )  # fmt: skip

    def _due(self, step: int) -> DeviceArray:
        return self._steps[step, :1]

    def _own(self, part: DeviceArray) -> DeviceArray:
        made = self._empty(part.shape)
        copy(self._stream, made, part)
        return made

    def _empty(self, shape: Sequence[int]) -> DeviceArray:
        return self._device.memory.empty(self._stream, shape, "fp32")

    def _put(self, array: npt.NDArray[Any]) -> DeviceArray:
        return self._device.crossing.to_device(self._stream, np.ascontiguousarray(array))
