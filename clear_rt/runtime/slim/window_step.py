"""`kernels/window_step.py` from its cubin: one Euler step of one window, numbers and contract as there."""

from __future__ import annotations

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.contract import Contract, blocks
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.launch import Value
from clear_rt.runtime.slim.stream import Stream

OP = "window_step"


def window_step(
    kernels: Kernels,
    stream: Stream,
    latents: DeviceArray,
    sums: DeviceArray,
    velocity: DeviceArray,
    start: int,
    shares: DeviceArray,
    opens: DeviceArray,
    closes: DeviceArray,
    change: DeviceArray,
    step: DeviceArray,
) -> None:
    """Changes latents and sums fp32 [C, L, h, w] at the W latents from `start` on.

    velocity [C, W, h, w] of a float that the bundle has a kernel for, shares fp32 [W], opens and closes bool or u8 [W],
    change fp32 [S], of which `step` i64 [1] says which one counts; for a step that is not in it latents become NaN.

    Raises ValueError for other shapes or dtypes, gaps in memory, or a window that is not within the latents,
    EngineError where the bundle has no such kernel.
    """
    if not velocity.size:
        return
    contract = Contract(OP)
    contract.array("latents", latents, "C L h w", ("fp32",), dense_axes=4)
    contract.array("sums", sums, "C L h w", ("fp32",), dense_axes=4)
    contract.array("velocity", velocity, "C W h w", dense_axes=4)
    contract.array("shares", shares, "W", ("fp32",))
    contract.array("opens", opens, "W", ("bool", "u8"))
    contract.array("closes", closes, "W", ("bool", "u8"))
    contract.array("change", change, "S", ("fp32",))
    contract.array("step", step, "1", ("i64",))
    contract.written("latents", latents)
    contract.written("sums", sums)
    channels, window, height, width = velocity.shape
    total = latents.shape[1]
    if not 0 <= start <= total - window:
        raise ValueError(f"{OP}: expected {window} latents from start on within {total}, got start {start}")
    name = f"{OP}-{velocity.dtype}"
    block = kernels.launch_of(name).constant("BLOCK")
    arguments: dict[str, Value] = {
        "latents_ptr": latents,
        "sums_ptr": sums,
        "velocity_ptr": velocity,
        "shares_ptr": shares,
        "opens_ptr": opens,
        "closes_ptr": closes,
        "change_ptr": change,
        "step_ptr": step,
        "start": start,
        "total": total,
        "window": window,
        "positions": height * width,
        "steps": len(change),
    }
    kernels.launch(stream, name, (blocks(height * width, block), window, channels), arguments)
