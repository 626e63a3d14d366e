"""The bytes that the `cuda` engine takes on a GPU for regions of one size, part by part.

One run at a time is counted: one encoder, one decoder, one shape of windows. A video with regions of several sizes
needs kept frames and buffers for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from clear_rt.bench.sizes import Sizes
from clear_rt.bench.work_dit import tokens_of
from clear_rt.contents import waiting_frames
from clear_rt.memory_plan import transformer
from clear_rt.memory_plan.transformer import FLOAT_BYTES, HALF_BYTES
from clear_rt.memory_plan.vae import RGB, CoderMemory, decoder_memory, encoder_memory, shared_values
from clear_rt.shapes import Size

PlanPrecision = Literal["bf16", "fp8"]
# An assumption, not a measurement: the CUDA context, kernels of torch and its libraries, and their workspaces.
CUDA_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Networks, and how they are run. `windows`: under way at once, each with control latents of its own.

    `stored_bytes`: of a value of the weights in their files, which loading holds beside float32.
    """

    sizes: Sizes
    timesteps: int
    window_latents: int
    windows: int
    stored_bytes: int = FLOAT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """`lasting`: bytes by part that stay from the first step to the last. The others come and go.

    `encode`, `step`, `decode`: alive at the peak of each, in memory that the graphs of all three share.
    """

    size: Size
    precision: PlanPrecision
    lasting: dict[str, int]
    encode: int
    step: int
    decode: int
    loading: int

    @property
    def activations(self) -> int:
        """Of the largest of the three."""
        return max(self.encode, self.step, self.decode)

    @property
    def warm_up(self) -> int:
        """What a first run, outside of its graph, takes beside the memory of the graphs captured before."""
        peaks = self.encode, self.encode + self.step, max(self.encode, self.step) + self.decode
        return max(peaks) - self.activations

    @property
    def allocated(self) -> int:
        """What torch has allocated at the peak (`torch.cuda.max_memory_allocated`)."""
        return max(self.loading, sum(self.lasting.values()) + self.activations)

    @property
    def total(self) -> int:
        """What the GPU has to have."""
        running = sum(self.lasting.values()) + self.activations + self.warm_up
        return max(self.loading, running) + CUDA_BYTES

    @property
    def parts(self) -> dict[str, int]:
        """Everything that runs beside each other, in bytes; loading is over by then."""
        return self.lasting | {
            "activations": self.activations,
            "warm-up beside graphs": self.warm_up,
            "CUDA and libraries (assumed)": CUDA_BYTES,
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "parts_bytes": self.parts,
            "activations_bytes": {"encode": self.encode, "step": self.step, "decode": self.decode},
            "loading_bytes": self.loading + CUDA_BYTES,
            "allocated_bytes": self.allocated,
            "total_bytes": self.total,
        }


def memory_plan(subject: Subject, size: Size, precision: PlanPrecision) -> MemoryPlan:
    """Of regions of `size`, in pixels that the networks see: multiples of a patch."""
    (dit, vae), fp8 = subject.sizes, precision == "fp8"
    encoder, decoder = (walk(vae, size.height_px, size.width_px) for walk in (encoder_memory, decoder_memory))
    rows, columns = size.height_px // vae.latent_px, size.width_px // vae.latent_px
    tokens = tokens_of(subject.window_latents, rows, columns)
    weights = transformer.weight_bytes(dit, subject.timesteps, fp8=fp8)
    lasting = {
        "transformer": weights,
        "VAE": _weight_bytes(encoder) + _weight_bytes(decoder),
        "VAE, frames kept": HALF_BYTES * (encoder.kept + decoder.kept),
        "VAE, shared buffers": HALF_BYTES * shared_values(encoder, decoder),
        "pictures in and out": HALF_BYTES * (encoder.staged + decoder.staged),
        "generated frames waiting": _waiting_bytes(subject, size),
        "windows in and out": transformer.window_bytes(dit, tokens, subject.windows, fp8=fp8),
    }
    return MemoryPlan(
        size=size,
        precision=precision,
        lasting=lasting,
        encode=HALF_BYTES * encoder.alive,
        step=transformer.step_bytes(dit, tokens, fp8=fp8),
        decode=HALF_BYTES * decoder.alive,
        loading=_loading_bytes(subject, encoder.parameters + decoder.parameters, fp8=fp8),
    )


def _waiting_bytes(subject: Subject, size: Size) -> int:
    """Of frames that a window makes final at once, at most."""
    pixels = size.width_px * size.height_px
    window_frames = subject.window_latents * subject.sizes.vae.latent_frames
    return waiting_frames(window_frames, pixels) * HALF_BYTES * RGB * pixels


def _weight_bytes(coder: CoderMemory) -> int:
    """As they were loaded, and in the order that kernels take them in."""
    return HALF_BYTES * (coder.parameters + coder.laid_out) + FLOAT_BYTES * coder.floats


def _loading_bytes(subject: Subject, vae_parameters: int, *, fp8: bool) -> int:
    """Networks come as float32 and are narrowed when all are there, the transformer first; files narrower than that
    are held beside what is made of them.
    """
    dit = subject.sizes.dit
    wide = transformer.weight_bytes(dit, subject.timesteps, fp8=fp8, value_bytes=FLOAT_BYTES)
    if subject.stored_bytes == FLOAT_BYTES:
        return wide + FLOAT_BYTES * vae_parameters
    stored = transformer.weight_bytes(dit, subject.timesteps, fp8=fp8, value_bytes=subject.stored_bytes)
    return wide + max(stored, (FLOAT_BYTES + subject.stored_bytes) * vae_parameters)
