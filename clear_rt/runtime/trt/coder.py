"""A streamed coder: what a step of the VAE leaves for the next one changes between two sets of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from clear_rt.errors import EngineError
from clear_rt.restart import Host
from clear_rt.runtime.coder_runs import Size
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.copies import copy
from clear_rt.runtime.slim.dtypes import DTYPES
from clear_rt.runtime.trt.device import Device
from clear_rt.runtime.trt.executable import Executable, Networks
from clear_rt.runtime.trt.program import Program
from clear_rt.states import StateError


class PlanCoder:
    """The encoder or decoder for one run at a time of one size; `frames` of its input come after the first step.

    Three programs: the first step fills set 0, then one leads from there to set 1, and another one back.
    """

    def __init__(self, networks: Networks, device: Device, part: str, given: str, size: Size, frames: int) -> None:
        channels, height, width = self.size = size
        self._device, self._given = device, given

        def shape(count: int) -> tuple[int, ...]:
            return 1, channels, count, height, width

        first = networks.opened(f"{part}_first", {given: shape(1)})
        kept = numbered(first.made, "next")
        (self._made,) = first.made.keys() - {*kept}
        caches = {name.replace("next", "cache"): first.made[name].shape for name in kept}

        def opened() -> Executable:
            return networks.opened(f"{part}_next", {given: shape(frames), **caches})

        there, back, lane, memory = opened(), opened(), device.networks, device.memory
        begin = Program(first, lane, memory, part)
        even = [begin.arrays[name] for name in kept]
        odd = [memory.zeros(lane.stream, array.shape, array.dtype) for array in even]
        forth = Program(there, lane, memory, part, _caches(even, odd))
        ends = {name: forth.arrays[name] for name in (given, self._made)}
        self._begin, self._turns = begin, (forth, Program(back, lane, memory, part, _caches(odd, even) | ends))
        self._sets, self._turn = (even, odd), 0

    def __call__(self, x: DeviceArray, begins: bool) -> DeviceArray:
        """x fp32 [C, T, H, W] -> an array of its own, fp32 [C, T, H, W]; on the lane's stream."""
        program = self._begin if begins else self._turns[self._turn]
        self._turn = 0 if begins else 1 - self._turn
        stream = self._device.networks.stream
        copy(stream, program.arrays[self._given][0], x)
        program()
        made = program.arrays[self._made][0]
        own = self._device.memory.empty(stream, made.shape, made.dtype)
        copy(stream, own, made)
        return own

    def kept(self) -> Iterator[Host]:
        """What the last step left, by its bits."""
        crossing, stream = self._device.crossing, self._device.networks.stream
        return (crossing.to_host(stream, array) for array in self._sets[self._turn])

    def fill(self, arrays: Sequence[Host]) -> None:
        """Puts what was `kept` where the next step finds it. Raises StateError where it is of other forms."""
        crossing, stream = self._device.crossing, self._device.networks.stream
        forms = [(array.shape, np.dtype(DTYPES[array.dtype].host)) for array in self._sets[0]]
        if forms != [(array.shape, array.dtype) for array in arrays]:
            raise StateError(f"expected {len(forms)} arrays that a coder keeps, found {len(arrays)}, or others")
        for mine, theirs in zip(self._sets[0], arrays, strict=True):
            there = crossing.to_device(stream, theirs)
            copy(stream, mine, there.viewed(mine.shape, mine.dtype))
        self._turn = 0


def _caches(given: Iterable[DeviceArray], made: Iterable[DeviceArray]) -> dict[str, DeviceArray]:
    arrays = {f"cache_{i}": array for i, array in enumerate(given)}
    return arrays | {f"next_{i}": array for i, array in enumerate(made)}


def numbered(names: Iterable[str], word: str) -> list[str]:
    """next_0, next_1 and so on. Raises EngineError where numbers are missing."""
    found = [name for name in names if name.startswith(f"{word}_")]
    expected = [f"{word}_{i}" for i in range(len(found))]
    if {*found} != {*expected}:
        raise EngineError(f"expected outputs {', '.join(expected)}, got {', '.join(found)}; build the bundle again")
    return expected
