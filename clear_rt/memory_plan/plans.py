"""What the engine trt takes of a GPU's memory for a region of one size, by arithmetic and by what its builder said.

Beside weights and activations these are the arrays that networks are bound to (`runtime.trt`): a window's, one set of
tokens more for each window under way, and an encoder's and a decoder's with two sets of what steps leave.
"""

from __future__ import annotations

from dataclasses import dataclass

from clear_rt.generator import GeneratorSpec
from clear_rt.memory_plan.subject import subject_of
from clear_rt.memory_plan.vae import decoder_memory, encoder_memory
from clear_rt.plans import PlansSpec
from clear_rt.shapes import Size

_FLOAT_BYTES = 4
# Pixels that a token stands for, each way.
_PATCH_PX = 2
_PRIOR = "prior"


@dataclass(frozen=True, slots=True)
class PlansMemory:
    """Bytes; those of `arrays` are None where the bundle does not tell its networks' sizes."""

    weights: int
    activations: int
    arrays: int | None


def plans_memory(spec: GeneratorSpec, plans: PlansSpec, size: Size) -> PlansMemory:
    """Of engines as the manifest names them: networks share activations, the prior has its own."""
    activations = {role: plan.activation_bytes for role, plan in plans.plans.items()}
    most = max((count for role, count in activations.items() if role != _PRIOR), default=0)
    return PlansMemory(
        weights=sum(plan.path.stat().st_size for plan in plans.plans.values()),
        activations=most + activations.get(_PRIOR, 0),
        arrays=_told_arrays_bytes(spec, size),
    )


def _told_arrays_bytes(spec: GeneratorSpec, size: Size) -> int | None:
    try:
        return arrays_bytes(spec, size)
    except ValueError:
        return None


def arrays_bytes(spec: GeneratorSpec, size: Size, handed_on_bytes: int = 2) -> int:
    """Of windows and one run under way; tokens and what steps leave have values of `handed_on_bytes`.

    Raises ValueError where the bundle does not tell its networks' sizes.
    """
    subject = subject_of(spec)
    vae, px = subject.sizes.vae, spec.latent_px
    positions = spec.window_latents * (size.height_px // px) * (size.width_px // px)
    tokens = positions // _PATCH_PX**2 * subject.sizes.dit.width
    # Latents to control, latents and velocity; tokens out of the one network, into the other, and of each window.
    window = 3 * _FLOAT_BYTES * positions * spec.latent_channels + (2 + subject.windows) * handed_on_bytes * tokens
    coders = (memory(vae, size.height_px, size.width_px) for memory in (encoder_memory, decoder_memory))
    return window + sum(2 * handed_on_bytes * coder.kept + _FLOAT_BYTES * coder.staged for coder in coders)
