"""The `trt` engine: a bundle's networks by TensorRT, and what lies between them by our compiled kernels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_rt.bundle import Bundle
from clear_rt.errors import EngineError
from clear_rt.plans import PLAN_ROLES
from clear_rt.restart import Coder, Host
from clear_rt.runtime.engine import Caches, Floats, trt_obstacles
from clear_rt.runtime.onnx_prior import OnnxPrior
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.trt.device import Device, open_device
from clear_rt.runtime.trt.executable import Networks
from clear_rt.runtime.trt.failures import told
from clear_rt.runtime.trt.plans import OpenedPlans
from clear_rt.runtime.trt.prior import PlanPrior
from clear_rt.runtime.trt.side import TrtNetworks, TrtSide
from clear_rt.runtime.trt_library import required_library
from clear_rt.side import RestartableHostSide, Side

_PRIOR = "prior"
_log = logging.getLogger(__name__)


class SlimEngine:
    """As `clear_rt.runtime.engine.Engine`, of networks that are opened and a device that they are on.

    `side` is where it is fastest to work with it: on the GPU where the bundle has our kernels for it. `kept_as` says
    what computes, as in `clear_rt.restart.KeepsCaches`.
    """

    name = "trt"

    def __init__(self, bundle: Bundle, device: Device, networks: Networks, prior: Networks, kept_as: str) -> None:
        if bundle.generator is None:
            raise EngineError(f"--engine trt: bundle {bundle.name} holds no generative model; use --engine onnx")
        self.device, self.kept_as = device, kept_as
        self._prior = PlanPrior(prior, device, lambda: OnnxPrior(bundle.prior).occlusion)
        self._networks, self.side = self._placed(bundle, device, networks)

    def _placed(self, bundle: Bundle, device: Device, networks: Networks) -> tuple[TrtNetworks, Side]:
        assert bundle.generator is not None
        if device.kernels is None:
            _log.warning("latents and pictures stay on the host: %s", device.obstacle)
            return TrtNetworks(networks, bundle.generator, device), RestartableHostSide(self, self)
        side = TrtSide(networks, bundle.generator, device, device.kernels, self.kept_as)
        return side, side

    @property
    def graphs_refused(self) -> dict[str, str]:
        """Why work of a name runs without a graph."""
        lanes = self.device.networks, self.device.prior, self.device.pictures
        return {name: why for lane in lanes for name, why in lane.graphs.refused.items()}

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`."""
        return self._prior(rgb)

    def encode(self, frames: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.encode`."""
        latent, run = self._networks.encode(self._there(frames), caches)
        return self._here(latent), run

    def decode(self, latent: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.decode`."""
        frames, run = self._networks.decode(self._there(latent), caches)
        return self._here(frames), run

    def control(self, latents: Floats) -> DeviceArray:
        """As `Engine.control`."""
        return self._networks.control(self._there(latents))

    def velocity(self, latents: Floats, control: Any, row: int) -> Floats:  # noqa: ANN401 - what `control` returned
        """As `Engine.velocity`."""
        return self._here(self._networks.velocity(self._there(latents), control, row))

    def saved(self, caches: Caches) -> Iterator[Host]:
        """As `restart.KeepsCaches.saved`."""
        return self._networks.saved(caches)

    def restored(self, coder: Coder, arrays: Sequence[Host]) -> Caches:
        """As `restart.KeepsCaches.restored`."""
        return self._networks.restored(coder, arrays)

    def _there(self, array: Floats) -> DeviceArray:
        with told([*array.shape]):
            return self.device.crossing.to_device(self.device.networks.stream, np.ascontiguousarray(array, np.float32))

    def _here(self, array: DeviceArray) -> Floats:
        with told([*array.shape]):
            found: Floats = self.device.crossing.to_host(self.device.networks.stream, array)
        return found


class TrtEngine(SlimEngine):
    """The engines of a bundle, loaded; a graph is captured when a size is first met. `graphs` False captures none.

    Raises EngineError where the bundle holds no engines, or they were built for another GPU or version of the library
    (what differs is named), where there is not enough memory, or the library does not take the GPU.
    """

    def __init__(self, bundle: Bundle, *, graphs: bool = True) -> None:
        plans = None if bundle.generator is None else bundle.generator.plans
        obstacles, library = trt_obstacles(bundle), required_library()
        if bundle.generator is None or plans is None or obstacles:
            raise EngineError(
                f"--engine trt: the engines of bundle {bundle.name} do not run here: {' and '.join(obstacles)}; "
                "build it for this machine"
            )
        device = open_device(bundle.generator.kernels, captures=graphs)
        roles = [role for role in PLAN_ROLES if role != _PRIOR]
        networks = OpenedPlans(plans, roles, library, device.memory, device.networks.stream)
        prior = OpenedPlans(plans, [_PRIOR], library, device.memory, device.prior.stream)
        kept_as = f"{library.title} in {plans.precision} on sm_{plans.capability}"
        super().__init__(bundle, device, networks, prior, kept_as)
