"""One denoising step of windows of one shape, and the tokens of their control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.copies import copy
from clear_rt.runtime.trt.device import Device
from clear_rt.runtime.trt.executable import Networks
from clear_rt.runtime.trt.program import Program


class Window:
    """Networks for windows [C, L, h, w] of one shape; `rows` of the bundle's timesteps there are.

    Raises EngineError where the bundle was built for others, or there is not enough memory.
    """

    def __init__(self, networks: Networks, device: Device, shape: Sequence[int], rows: int) -> None:
        lane, memory, whole = device.networks, device.memory, (1, *shape)
        self._device = device
        self._control = Program(networks.opened("control", {"latents": whole}), lane, memory, "control")
        tokens = self._control.arrays["control"].shape
        shapes = {"latents": whole, "control": tokens, "row": ()}
        self._step = Program(networks.opened("step", shapes), lane, memory, "step")
        self._rows = device.crossing.to_device(lane.stream, np.arange(rows, dtype=np.int64))

    def control(self, latents: DeviceArray) -> DeviceArray:
        """Control latents fp32 [C, L, h, w] -> an array of its own, which `velocity` takes."""
        stream = self._device.networks.stream
        copy(stream, self._control.arrays["latents"][0], latents)
        self._control()
        made = self._control.arrays["control"]
        own = self._device.memory.empty(stream, made.shape, made.dtype)
        copy(stream, own, made)
        return own

    def velocity(self, latents: DeviceArray, control: DeviceArray, row: int) -> DeviceArray:
        """fp32 [C, L, h, w], which the next call writes over. Raises ValueError for a row that is none."""
        if not 0 <= row < len(self._rows):
            raise ValueError(f"expected a row below {len(self._rows)}, got {row}")
        stream, arrays = self._device.networks.stream, self._step.arrays
        copy(stream, arrays["latents"][0], latents)
        copy(stream, arrays["control"], control)
        copy(stream, arrays["row"], self._rows[row])
        self._step()
        return arrays["velocity"][0]
