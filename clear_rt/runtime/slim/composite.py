"""`kernels/composite.py` from its cubins, mode membrane: generated RGB into the planes of a picture, under a matte.

Modes paste and off have no cubins: the variants that are compiled ahead of time are those of membrane, in 4:2:0.
"""

from __future__ import annotations

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.contract import FLOATS, Contract, blocks
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.launch import Value
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.planes import Steps, check_planes, samples_of
from clear_rt.runtime.slim.pull_push import PullPush
from clear_rt.runtime.slim.stream import Stream
from clear_rt.shapes import Box, Size, plane_box

OP = "composite"
STEPS = Steps(2, 2)


class Composite:
    """Composites into one box of pictures in 4:2:0, on memory that is made once: calls follow each other on one stream.

    Raises EngineError where the bundle has no such kernels.
    """

    def __init__(self, kernels: Kernels, memory: Memory, stream: Stream, box: Box) -> None:
        self._kernels, self._box = kernels, box
        self._fields: list[tuple[DeviceArray, PullPush]] = []
        for planes, steps in ((1, Steps(1, 1)), (2, STEPS)):
            inner = plane_box(box, *steps)
            field = memory.empty(stream, (planes, inner.height_px, inner.width_px), "fp32")
            self._fields.append((field, PullPush(kernels, memory, stream, *field.shape)))

    def __call__(
        self,
        stream: Stream,
        luma: DeviceArray,
        cb: DeviceArray,
        cr: DeviceArray,
        generated: DeviceArray,
        alpha: DeviceArray,
        matrix: DeviceArray,
        bits: int,
        shift: int,
    ) -> None:
        """Writes generated [3, h, w], -1..1, into the planes of a picture (`planes`) at the box.

        It is of a float that the bundle has kernels for.

        alpha u8 [h, w], h and w of the box; matrix fp32 [3, 4] is that to codes of `bits`, which samples hold above
        `shift` zeros. Samples of alpha 0 keep every bit, and so do those whose content is NaN.

        Raises ValueError for other shapes or dtypes, or a box that is not inside the picture.
        """
        self._check(luma, cb, cr, generated, alpha, matrix)
        if not 8 <= bits <= bits + shift <= 8 * luma.itemsize:
            raise ValueError(f"{OP}: expected 8 bits or more and a shift that fit {luma.dtype}, got {bits} and {shift}")
        shared: dict[str, Value] = {
            "generated_ptr": generated,
            "alpha_ptr": alpha,
            "x_px": self._box.x_px,
            "y_px": self._box.y_px,
            "height_px": self._box.height_px,
            "width_px": self._box.width_px,
            "generated_channel_stride": generated.strides[0],
            "generated_row_stride": generated.strides[1],
            "alpha_row_stride": alpha.strides[0],
            "shift": shift,
            "largest": 2**bits - 1,
        }
        kinds = f"{OP}-{samples_of(luma)}-{generated.dtype}"
        self._plane(stream, f"{kinds}-luma", 0, shared | {"matrix_ptr": matrix} | _plane(luma))
        chroma = shared | {"matrix_ptr": matrix[1:], "second_ptr": cr} | _plane(cb)
        self._plane(stream, f"{kinds}-chroma", 1, chroma)

    def _plane(self, stream: Stream, name: str, which: int, arguments: dict[str, Value]) -> None:
        field, filled = self._fields[which]
        block = self._kernels.launch_of(name).constant("BLOCK")
        grid = blocks(field.shape[1] * field.shape[2], block), 1, 1
        self._kernels.launch(stream, f"{name}-field", grid, arguments | {"field_ptr": field})
        self._kernels.launch(stream, name, grid, arguments | {"field_ptr": filled(stream, field)})

    def _check(
        self,
        luma: DeviceArray,
        cb: DeviceArray,
        cr: DeviceArray,
        generated: DeviceArray,
        alpha: DeviceArray,
        matrix: DeviceArray,
    ) -> None:
        contract, box = Contract(OP), self._box
        steps = check_planes(contract, luma, cb, cr)
        contract.array("generated", generated, f"3 {box.height_px} {box.width_px}", FLOATS)
        contract.array("alpha", alpha, f"{box.height_px} {box.width_px}", ("u8",))
        contract.array("matrix", matrix, "3 4", ("fp32",), dense_axes=2)
        for name, plane in (("luma", luma), ("cb", cb), ("cr", cr)):
            contract.written(name, plane)
        picture = Size(luma.shape[1], luma.shape[0])
        if box.clipped(picture) != box:
            raise ValueError(f"{OP}: expected a box inside the picture of {picture}, got {box}")
        if steps != STEPS:
            raise ValueError(f"{OP}: expected chroma in steps of {[*STEPS]}, as its kernels have them, got {[*steps]}")


def _plane(first: DeviceArray) -> dict[str, Value]:
    return {"first_ptr": first, "plane_row_stride": first.strides[0], "plane_column_stride": first.strides[1]}
