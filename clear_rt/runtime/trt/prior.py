"""The occlusion prior as an engine of TensorRT; pictures that it was not built for go to ONNX Runtime."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import numpy as np
import numpy.typing as npt

from clear_rt.errors import EngineError
from clear_rt.runtime.trt.device import Device
from clear_rt.runtime.trt.executable import Networks
from clear_rt.runtime.trt.program import Program

UInt8 = npt.NDArray[np.uint8]
# A video has one working size, and one more for each region that is looked at alone.
MOST_SIZES = 4


class PlanPrior:
    """May be called by several threads. `fallback` is made when it is first needed."""

    def __init__(self, networks: Networks, device: Device, fallback: Callable[[], Callable[[UInt8], UInt8]]) -> None:
        self._networks, self._device, self._lane = networks, device, device.prior
        self._programs: OrderedDict[tuple[int, ...], Program] = OrderedDict()
        self._make, self._making = fallback, Lock()
        self._fallback: Callable[[UInt8], UInt8] | None = None

    def __call__(self, rgb: UInt8) -> UInt8:
        """As `Engine.occlusion`. Raises EngineError where the network fails or answers in another size."""
        shape = 1, *rgb.shape
        if not self._networks.takes("prior", {"rgb": shape}):
            return self._otherwise()(rgb)
        with self._lane.at_work(f"a picture of {rgb.shape[1]}x{rgb.shape[0]}"):
            program = self._program(shape)
            given = program.arrays["rgb"]
            buffer = self._device.crossing.buffer(given.size_bytes)
            buffer.array.view(np.float32).reshape(given.shape)[...] = rgb
            buffer.send(self._lane.stream, given)
            program()
            found: UInt8 = self._device.crossing.to_host(self._lane.stream, program.arrays["occlusion"])
        return np.ascontiguousarray(found[0])

    def _program(self, shape: tuple[int, ...]) -> Program:
        if shape not in self._programs:
            executable = self._networks.opened("prior", {"rgb": shape})
            found = executable.made["occlusion"]
            if (found.shape, found.dtype) != (shape[:3], "u8"):
                raise EngineError(
                    f"engine prior: expected a map u8 {[*shape[:3]]}, found {found.dtype} {[*found.shape]}; "
                    "build the bundle again"
                )
            while len(self._programs) >= MOST_SIZES:
                self._programs.popitem(last=False)
            self._programs[shape] = Program(executable, self._lane, self._device.memory, "prior")
        self._programs.move_to_end(shape)
        return self._programs[shape]

    def _otherwise(self) -> Callable[[UInt8], UInt8]:
        with self._making:
            if self._fallback is None:
                self._fallback = self._make()
            return self._fallback
