"""All of a GPU that the `trt` engine uses: memory, one lane each for networks, prior and pictures, our kernels."""

from __future__ import annotations

from dataclasses import dataclass

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.context import Context, open_context
from clear_rt.runtime.slim.crossing import Crossing
from clear_rt.runtime.slim.kernel_files import KernelsSpec
from clear_rt.runtime.slim.kernels import Kernels, LoadedKernels
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.trt.lane import Lane

# What latents and pictures are computed with there, for networks that take and give float32.
NEEDED_KERNELS = (
    "window_step-fp32",
    "hold_overlap",
    "fade_overlap",
    "pull_push-settle",
    *(f"yuv_to_input-{samples}-fp32" for samples in ("u8", "u16")),
    *(
        f"composite-{samples}-fp32-{plane}{part}"
        for samples in ("u8", "u16")
        for plane in ("luma", "chroma")
        for part in ("", "-field")
    ),
)


@dataclass(frozen=True, slots=True)
class Device:
    """Without `kernels`, which `obstacle` then says why, latents and pictures stay on the host."""

    context: Context
    memory: Memory
    crossing: Crossing
    networks: Lane
    prior: Lane
    pictures: Lane
    kernels: Kernels | None
    obstacle: str | None


def open_device(spec: KernelsSpec | None, *, captures: bool = True) -> Device:
    """The current context or the first GPU's. Raises EngineError where there is no GPU that the driver can use."""
    context = open_context()
    kernels: LoadedKernels | None = None
    obstacle = missing_kernels(spec, context.capability)
    if obstacle is None and spec is not None:
        kernels = LoadedKernels(spec, context)
        kernels.load()
    return device_of(context, kernels, obstacle, captures=captures)


def device_of(context: Context, kernels: Kernels | None, obstacle: str | None, *, captures: bool = True) -> Device:
    """As `open_device`, of a context and kernels that are there."""
    memory = Memory(context)
    networks, prior, pictures = (Lane(context, captures=captures) for _ in range(3))
    return Device(context, memory, Crossing(memory), networks, prior, pictures, kernels, obstacle)


def missing_kernels(spec: KernelsSpec | None, capability: int) -> str | None:
    """Why kernels of a bundle do not do here, in words; None where they do."""
    if spec is None:
        return "the bundle holds no kernels of ours, as it was built without Triton"
    try:
        held = spec.for_gpu(capability)
    except EngineError as error:
        return str(error)
    missing = [name for name in NEEDED_KERNELS if name not in held]
    return f"the bundle's kernels lack {missing[0]}; build it again" if missing else None
