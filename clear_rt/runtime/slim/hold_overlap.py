"""`kernels/hold_overlap.py` from its cubins: the latents that a window shares with those before it, held and faded."""

from __future__ import annotations

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.contract import Contract, blocks
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.launch import Value
from clear_rt.runtime.slim.stream import Stream

HOLD = "hold_overlap"
FADE = "fade_overlap"
_FP32 = ("fp32",)


def hold_overlap(
    kernels: Kernels,
    stream: Stream,
    latents: DeviceArray,
    held: DeviceArray,
    noise: DeviceArray,
    sigmas: DeviceArray,
    step: DeviceArray,
) -> None:
    """Sets the first S latents fp32 [C, L, h, w] to held [C, S, h, w] with noise [C, L, h, w] at the level of a step.

    sigmas fp32 [K], of which `step` i64 [1] says which one counts; for one that is not in it latents become NaN.

    Raises ValueError for other shapes or dtypes or gaps in memory, EngineError where the bundle has no such kernel.
    """
    if not held.size:
        return
    contract = Contract(HOLD)
    _check(contract, latents, held)
    contract.array("noise", noise, "C L h w", _FP32, dense_axes=4)
    contract.array("sigmas", sigmas, "K", _FP32)
    contract.array("step", step, "1", ("i64",))
    others: dict[str, Value] = {"other_ptr": noise, "shares_ptr": sigmas, "step_ptr": step}
    _launch(kernels, stream, HOLD, latents, held, others, len(sigmas))


def fade_overlap(
    kernels: Kernels,
    stream: Stream,
    latents: DeviceArray,
    held: DeviceArray,
    shares: DeviceArray,
    kept: DeviceArray,
) -> None:
    """Multiplies the first S latents fp32 [C, L, h, w] by shares fp32 [S], and adds kept [S] times held [C, S, h, w].

    Raises as `hold_overlap`.
    """
    if not held.size:
        return
    contract = Contract(FADE)
    _check(contract, latents, held)
    contract.array("shares", shares, "S", _FP32)
    contract.array("kept", kept, "S", _FP32)
    others: dict[str, Value] = {"other_ptr": latents, "shares_ptr": shares, "kept_ptr": kept}
    _launch(kernels, stream, FADE, latents, held, others, len(shares))


def _check(contract: Contract, latents: DeviceArray, held: DeviceArray) -> None:
    contract.array("latents", latents, "C L h w", _FP32, dense_axes=4)
    contract.array("held", held, "C S h w", _FP32, dense_axes=4)
    contract.written("latents", latents)
    if held.shape[1] > latents.shape[1]:
        raise ValueError(
            f"{contract.op}: expected held of {latents.shape[1]} latents or fewer, as there are, got {held.shape[1]}"
        )


def _launch(
    kernels: Kernels,
    stream: Stream,
    name: str,
    latents: DeviceArray,
    held: DeviceArray,
    others: dict[str, Value],
    steps: int,
) -> None:
    channels, shared, height, width = held.shape
    block = kernels.launch_of(name).constant("BLOCK")
    sizes = {"total": latents.shape[1], "shared": shared, "positions": height * width, "steps": steps}
    arguments = {"latents_ptr": latents, "held_ptr": held, **others, **sizes}
    kernels.launch(stream, name, (blocks(height * width, block), shared, channels), arguments)
