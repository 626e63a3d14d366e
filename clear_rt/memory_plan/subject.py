"""Whose memory is planned: the networks of a bundle with the options of a run, or those of the real model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from clear_rt.bench.sizes import Sizes, sizes_of
from clear_rt.bench.work_dit import DitShape
from clear_rt.config import DenoiseConfig
from clear_rt.memory_plan import transformer
from clear_rt.memory_plan.plan import PlanPrecision, Subject
from clear_rt.memory_plan.transformer import FLOAT_BYTES, HALF_BYTES
from clear_rt.models.dit_config import WAN_FUN_CONTROL
from clear_rt.models.vae_config import WAN_VAE
from clear_rt.schedule import frames_of

if TYPE_CHECKING:
    from clear_rt.config import Policy
    from clear_rt.generator import GeneratorSpec

# The prompt that CLEAR was trained with has 38 tokens; one more key stands for the padding.
_PROMPT_KEYS = 39
# Of 2, 3, 4, 5, 10 and 20 steps, each timestep once.
_TIMESTEPS = 22
_STEPS, _WINDOW_LATENTS = 5, 21


def real_subject() -> Subject:
    """Wan2.1-Fun-V1.1-1.3B-Control with CLEAR's occlusion head, windows of 81 frames, five steps, policy `paper`."""
    real = WAN_FUN_CONTROL
    dit = DitShape(
        width=real.width,
        heads=real.heads,
        layers=real.layers,
        ffn_width=real.ffn_width,
        latent_channels=real.latent_channels,
        occlusion=True,
        text_keys=_PROMPT_KEYS,
    )
    return Subject(
        sizes=Sizes(dit, WAN_VAE),
        timesteps=_TIMESTEPS,
        window_latents=_WINDOW_LATENTS,
        windows=under_way("paper", _STEPS),
    )


def subject_of(spec: GeneratorSpec, config: DenoiseConfig | None = None) -> Subject:
    """Of a bundle's generator. Raises ValueError, which says why, where its manifest does not tell the sizes."""
    config = config or DenoiseConfig()
    sizes, steps = sizes_of(spec), config.steps or spec.default_steps
    latents = spec.window_latents
    if config.policy == "reference":
        # It takes the bundle's numbers of frames for latents (reference.md 6.5).
        latents = frames_of(spec.window_latents, spec.latent_frames)
    timesteps = 1 + max(row for table in spec.step_tables.values() for row in table.rows)
    subject = Subject(sizes=sizes, timesteps=timesteps, window_latents=latents, windows=under_way(config.policy, steps))
    return replace(subject, stored_bytes=_stored_bytes(spec, subject))


def under_way(policy: Policy, steps: int) -> int:
    """Windows that have been begun and are not finished: with windows coupled at every step as many as steps."""
    return 1 if policy == "stream" else steps


def precision_of(spec: GeneratorSpec) -> PlanPrecision:
    """What the `cuda` engine makes of a bundle's."""
    return "fp8" if spec.precision == "fp8" else "bf16"


def _stored_bytes(spec: GeneratorSpec, subject: Subject) -> int:
    """Of a value in the file of the transformer, by its size."""
    path = spec.weights.get("dit")
    if path is None:
        return FLOAT_BYTES
    fp8 = precision_of(spec) == "fp8"
    wide, narrow = (
        transformer.weight_bytes(subject.sizes.dit, subject.timesteps, fp8=fp8, value_bytes=each)
        for each in (FLOAT_BYTES, HALF_BYTES)
    )
    return HALF_BYTES if path.stat().st_size < (wide + narrow) // 2 else FLOAT_BYTES
