"""The side of the bus on which a run's arrays stay between an engine's calls: the host's memory, or the GPU's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from clear_rt.canvas import Array, Canvas, HostCanvas
from clear_rt.generator import StepTable
from clear_rt.pictures import HostPictures, Pictures
from clear_rt.restart import KeepsCaches
from clear_rt.runtime.engine import Engine
from clear_rt.windows import WindowPlan


class Side(Protocol):
    """The networks of an engine as `Engine` has them, but on this side's arrays, and what else is done with these."""

    @property
    def pictures(self) -> Pictures: ...

    def canvas(self, plan: WindowPlan, table: StepTable) -> Canvas: ...

    def encode(self, frames: Array, caches: Sequence[Any] | None) -> tuple[Array, Sequence[Any]]: ...

    def decode(self, latent: Array, caches: Sequence[Any] | None) -> tuple[Array, Sequence[Any]]: ...

    def control(self, latents: Array) -> Array: ...

    def velocity(self, latents: Array, control: Array, row: int) -> Array: ...


@runtime_checkable
class Resident(Protocol):
    """An engine with a side of its own."""

    @property
    def side(self) -> Side: ...


class HostSide:
    """The side of an engine that takes numpy's arrays."""

    def __init__(self, engine: Engine) -> None:
        self.pictures: Pictures = HostPictures()
        self.encode, self.decode = engine.encode, engine.decode
        self.control, self.velocity = engine.control, engine.velocity

    def canvas(self, plan: WindowPlan, table: StepTable) -> Canvas:
        return HostCanvas(plan, table)


class RestartableHostSide(HostSide):
    """The same, of an engine that keeps caches: as `clear_rt.restart.Restartable`."""

    def __init__(self, engine: Engine, keeper: KeepsCaches) -> None:
        super().__init__(engine)
        self.kept_as, self.saved, self.restored = keeper.kept_as, keeper.saved, keeper.restored

    def to_host(self, array: NDArray[Any]) -> NDArray[Any]:
        return array

    def from_host(self, array: NDArray[Any]) -> NDArray[Any]:
        return np.array(array)


def side_of(engine: Engine) -> Side:
    """Where it is fastest to work with an engine."""
    if isinstance(engine, Resident):
        return engine.side
    return RestartableHostSide(engine, engine) if isinstance(engine, KeepsCaches) else HostSide(engine)
