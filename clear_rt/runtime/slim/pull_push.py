"""`kernels/pull_push.py` from its cubins: unknown cells of a field filled smoothly, on memory that is made once."""

from __future__ import annotations

from itertools import pairwise

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.contract import Contract, blocks
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.launch import Value
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.stream import Stream

OP = "pull_push"
# As in kernels/pull_push.py and pull_push_level.py.
CORRECTIONS = 2
SWEEPS = 2


class PullPush:
    """Fills fields fp32 [channels, height, width] of one size.

    Every call works in the same memory, so calls follow each other on one stream.
    """

    def __init__(
        self, kernels: Kernels, memory: Memory, stream: Stream, channels: int, height: int, width: int
    ) -> None:
        self._kernels, self._shape = kernels, (channels, height, width)
        coarsest = kernels.launch_of(f"{OP}-settle").constant("BLOCK")
        sizes = [(height, width)]
        while len(sizes) == 1 or sizes[-1][0] * sizes[-1][1] > coarsest:
            sizes.append((blocks(sizes[-1][0], 2), blocks(sizes[-1][1], 2)))

        def pyramid(levels: list[tuple[int, int]]) -> list[DeviceArray]:
            return [memory.empty(stream, (channels, *size), "fp32") for size in levels]

        # From the finest level down; the field itself is the finest of what is known.
        self._known = pyramid(sizes[1:])
        self._missing = pyramid(sizes[1:])
        self._values = pyramid(sizes)

    def __call__(self, stream: Stream, field: DeviceArray) -> DeviceArray:
        """`field`, NaN where it is unknown, filled; 0 in channels that have nothing known. The next call overwrites it.

        Raises ValueError for a field of another size or dtype, or with gaps in memory.
        """
        Contract(OP).array("field", field, " ".join(map(str, self._shape)), ("fp32",), dense_axes=3)
        on = _Levels(self._kernels, stream)
        known, missing, values = [field, *self._known], [None, *self._missing], self._values
        for fine, coarse in pairwise(known):
            on.pull(fine, coarse)
        on.settle(known[-1], None, values[-1])
        for level in range(len(known) - 2, -1, -1):
            on.push(values[level + 1], known[level], None, None, values[level])
        for _ in range(CORRECTIONS):
            on.pull_missing(values[0], self._missing[0], of_values=True)
            for fine, coarse in pairwise(self._missing):
                on.pull_missing(fine, coarse, of_values=False)
            # The coarser levels' values have served; their errors take their place.
            on.settle(known[-1], missing[-1], values[-1])
            for level in range(len(known) - 2, 0, -1):
                on.push(values[level + 1], known[level], missing[level], None, values[level])
            on.push(values[1], field, None, values[0], values[0])
        return values[0]


class _Levels:
    """The steps of `kernels/pull_push_level.py` on one stream, results in memory that is given."""

    def __init__(self, kernels: Kernels, stream: Stream) -> None:
        self._kernels, self._stream = kernels, stream

    def pull(self, fine: DeviceArray, coarse: DeviceArray) -> None:
        self._launch("pull", coarse, fine, {"fine_ptr": fine, "coarse_ptr": coarse})

    def pull_missing(self, fine: DeviceArray, coarse: DeviceArray, *, of_values: bool) -> None:
        name = "pull_missing-of_values" if of_values else "pull_missing"
        self._launch(name, coarse, fine, {"fine_ptr": fine, "coarse_ptr": coarse})

    def settle(self, known: DeviceArray, missing: DeviceArray | None, out: DeviceArray) -> None:
        name, arguments = _named("settle", {"known_ptr": known, "values_ptr": out}, missing)
        self._kernels.launch(self._stream, name, (len(known), 1, 1), arguments | _size(known))

    def push(
        self,
        coarse: DeviceArray,
        known: DeviceArray,
        missing: DeviceArray | None,
        values: DeviceArray | None,
        out: DeviceArray,
    ) -> None:
        """`values` and `out` may be one: a cell is read by the program that writes it."""
        arguments: dict[str, Value] = {"coarse_ptr": coarse, "known_ptr": known, "out_ptr": out}
        if values is not None:
            arguments["values_ptr"] = values
        kind = "push-corrected" if values is not None else "push" if missing is None else "push-error"
        self._launch(kind, out, known, arguments)
        name, relaxed = _named("relax", {"known_ptr": known, "values_ptr": out}, missing)
        for colour in (0, 1) * SWEEPS:
            self._launch(name.removeprefix(f"{OP}-"), out, known, {**relaxed, "colour": colour})

    def _launch(self, name: str, out: DeviceArray, sized: DeviceArray, arguments: dict[str, Value]) -> None:
        name = f"{OP}-{name}"
        block = self._kernels.launch_of(name).constant("BLOCK")
        channels, height, width = out.shape
        grid = blocks(height * width, block), channels, 1
        self._kernels.launch(self._stream, name, grid, arguments | _size(sized))


def _named(name: str, arguments: dict[str, Value], missing: DeviceArray | None) -> tuple[str, dict[str, Value]]:
    """The variant of a step for values, or for the error where some is `missing`, and its arrays."""
    if missing is None:
        return f"{OP}-{name}", arguments
    return f"{OP}-{name}-error", arguments | {"missing_ptr": missing}


def _size(field: DeviceArray) -> dict[str, Value]:
    return {"height": field.shape[1], "width": field.shape[2]}
