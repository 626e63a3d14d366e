"""`kernels/yuv_to_input.py` from its cubins: a picture's planes -> the crop that the model sees."""

from __future__ import annotations

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.contract import FLOATS, Contract, blocks
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.launch import Value
from clear_rt.runtime.slim.planes import Steps, check_planes, samples_of
from clear_rt.runtime.slim.stream import Stream

OP = "yuv_to_input"


def yuv_to_input(
    kernels: Kernels,
    stream: Stream,
    luma: DeviceArray,
    cb: DeviceArray,
    cr: DeviceArray,
    matrix: DeviceArray,
    x_px: int,
    y_px: int,
    out: DeviceArray,
) -> None:
    """Fills out [3, height, width] from the planes of a picture (`planes`), 4:2:0, from its pixel (y_px, x_px) on.

    `matrix` fp32 [3, 4] is that of the samples' bits from codes to R, G, B in -1..1, 16 for P010. What lies beyond the
    picture repeats its edge, on all four sides.

    Raises ValueError for other shapes, dtypes or strides, or an empty size, EngineError where the bundle has no such
    kernel.
    """
    contract = Contract(OP)
    steps = check_planes(contract, luma, cb, cr)
    contract.array("matrix", matrix, "3 4", ("fp32",), dense_axes=2)
    contract.array("out", out, "3 rows columns", FLOATS, dense_axes=3)
    contract.written("out", out)
    if not out.size:
        raise ValueError(f"{OP}: expected out of 1 pixel or more, got {[*out.shape]}")
    name = f"{OP}-{samples_of(luma)}-{out.dtype}"
    launch = kernels.launch_of(name)
    made_for = Steps(launch.constant("STEP_X"), launch.constant("STEP_Y"))
    if steps != made_for:
        raise ValueError(f"{OP}: expected chroma in steps of {[*made_for]}, as its kernel has them, got {[*steps]}")
    _, height_px, width_px = out.shape
    arguments: dict[str, Value] = {
        "luma_ptr": luma,
        "cb_ptr": cb,
        "cr_ptr": cr,
        "matrix_ptr": matrix,
        "out_ptr": out,
        "x_px": x_px,
        "y_px": y_px,
        "luma_height": luma.shape[0],
        "luma_width": luma.shape[1],
        "luma_row_stride": luma.strides[0],
        "chroma_row_stride": cb.strides[0],
        "chroma_column_stride": cb.strides[1],
        "width_px": width_px,
    }
    kernels.launch(stream, name, (blocks(width_px, launch.constant("BLOCK")), height_px, 1), arguments)
