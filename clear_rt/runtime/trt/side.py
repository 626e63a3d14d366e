"""Transformer and VAE of the `trt` engine on the GPU: programs for a shape of windows, coders for runs of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from clear_rt.canvas import Canvas
from clear_rt.errors import EngineError
from clear_rt.generator import GeneratorSpec, StepTable
from clear_rt.latents import no_numbers
from clear_rt.pictures import Pictures
from clear_rt.restart import Coder, Host
from clear_rt.runtime.coder_runs import KeptCoderRuns, Size
from clear_rt.runtime.engine import Caches
from clear_rt.runtime.latest import Latest
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.trt.canvas import SlimCanvas
from clear_rt.runtime.trt.coder import PlanCoder
from clear_rt.runtime.trt.device import Device
from clear_rt.runtime.trt.executable import Networks
from clear_rt.runtime.trt.pictures import SlimPictures
from clear_rt.runtime.trt.window import Window
from clear_rt.states import StateError
from clear_rt.windows import WindowPlan

# A region of another size is another pair of programs; more than these are seldom in use at once.
MOST_SHAPES = 4


class TrtNetworks:
    """The networks on arrays of the GPU, fp32 but for control, which is as its network makes it.

    May be called from several threads, one of which waits for the other. A call returns when its work is done.
    """

    def __init__(self, networks: Networks, spec: GeneratorSpec, device: Device) -> None:
        self._networks, self._device, self._lane = networks, device, device.networks
        self._rows = 1 + max(max(table.rows) for table in spec.step_tables.values())
        self._windows: Latest[tuple[int, ...], Window] = Latest(MOST_SHAPES)
        self._encoders = KeptCoderRuns(self._coder("encoder", "frames", spec.latent_frames))
        self._decoders = KeptCoderRuns(self._coder("decoder", "latent", 1))

    def _coder(self, part: str, given: str, frames: int) -> Callable[[Size], PlanCoder]:
        return lambda size: PlanCoder(self._networks, self._device, part, given, size, frames)

    def encode(self, frames: DeviceArray, caches: Caches | None) -> tuple[DeviceArray, Caches]:
        """frames [3, T, H, W] -> latent [C, h, w]."""
        with self._lane.at_work([*frames.shape]):
            latent, run = self._encoders(frames, caches)
        return latent[:, 0], run

    def decode(self, latent: DeviceArray, caches: Caches | None) -> tuple[DeviceArray, Caches]:
        """latent [C, h, w] -> frames [3, T, H, W]. Raises EngineError where there are values that are no numbers."""
        channels, *size = latent.shape
        with self._lane.at_work([*latent.shape]):
            frames, run = self._decoders(latent.viewed((channels, 1, *size)), caches)
            there = self._device.crossing.to_host(self._lane.stream, frames)
        if not np.isfinite(there).all():
            raise no_numbers()
        return frames, run

    def control(self, latents: DeviceArray) -> DeviceArray:
        """[C, L, h, w] -> tokens, for `velocity` of windows of the same shape."""
        with self._lane.at_work([*latents.shape]):
            return self._window(latents.shape).control(latents)

    def velocity(self, latents: DeviceArray, control: DeviceArray, row: int) -> DeviceArray:
        """[C, L, h, w], read-only and only until the next call."""
        with self._lane.at_work([*latents.shape]):
            return self._window(latents.shape).velocity(latents, control, row)

    def saved(self, caches: Caches) -> Iterator[Host]:
        """As `restart.KeepsCaches.saved`."""
        # Whose caches they are makes no difference to what they hold.
        return self._encoders.saved(caches)

    def restored(self, coder: Coder, arrays: Sequence[Host]) -> Caches:
        """As `restart.KeepsCaches.restored`."""
        coders = self._encoders if coder == "encoder" else self._decoders
        try:
            with self._lane.at_work(f"the state of {len(arrays)} arrays"):
                return coders.restored(arrays)
        except EngineError as error:
            raise StateError(f"no {coder} goes on with the state: {error}") from None

    def _window(self, shape: tuple[int, ...]) -> Window:
        return self._windows.of(shape, lambda: Window(self._networks, self._device, shape, self._rows))


class TrtSide(TrtNetworks):
    """As `clear_rt.side.Side` and `restart.Restartable`, of a device with our kernels."""

    def __init__(self, networks: Networks, spec: GeneratorSpec, device: Device, kernels: Kernels, kept_as: str) -> None:
        super().__init__(networks, spec, device)
        self._kernels, self.kept_as = kernels, kept_as
        self.pictures: Pictures = SlimPictures(device, kernels)

    def canvas(self, plan: WindowPlan, table: StepTable) -> Canvas:
        return SlimCanvas(plan, table, self._device, self._kernels)

    def to_host(self, array: DeviceArray) -> Host:
        """As `restart.Restartable.to_host`."""
        return self._device.crossing.to_host(self._lane.stream, array)

    def from_host(self, array: Host) -> DeviceArray:
        """As `restart.Restartable.from_host`: latents and frames, which are fp32 on this side."""
        with self._lane.at_work([*array.shape]):
            return self._device.crossing.to_device(self._lane.stream, array)
