"""A network on arrays that stay where they are, replayed as a graph where it can be captured."""

from __future__ import annotations

from collections.abc import Mapping

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.trt.executable import Executable
from clear_rt.runtime.trt.lane import Lane


class Program:
    """`arrays` are all inputs and outputs by name: those `shared` with others, and others of zeros.

    It runs once when it is made. Raises EngineError where there is not enough memory, or the network fails.
    """

    def __init__(
        self,
        executable: Executable,
        lane: Lane,
        memory: Memory,
        name: str,
        shared: Mapping[str, DeviceArray] | None = None,
    ) -> None:
        forms, self._lane = {**executable.given, **executable.made}, lane
        own = {key: form for key, form in forms.items() if key not in (shared or {})}
        made = {key: memory.zeros(lane.stream, form.shape, form.dtype) for key, form in own.items()}
        self.arrays = {**made, **(shared or {})}
        executable.bind(self.arrays)
        self._run = lane.captured(executable.run, name)

    def __call__(self) -> None:
        """Begins to compute outputs from inputs, on the lane's stream."""
        self._run(self._lane.stream)
