"""What `clear-rt info --plan` says, as JSON types: a plan in each precision, and whether it fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from clear_rt.bundle import Bundle
from clear_rt.crops import place
from clear_rt.memory_plan.plan import PlanPrecision, Subject, memory_plan
from clear_rt.memory_plan.room import limit_of, read_bytes
from clear_rt.memory_plan.subject import precision_of, real_subject, subject_of
from clear_rt.profiles import Profile, read_profile
from clear_rt.runtime.device import first_gpu
from clear_rt.schedule import frames_of
from clear_rt.shapes import Size


def plan_facts(text: str, bundle: Bundle, max_memory: str | None) -> dict[str, Any]:
    """Of a profile by its name or size; of the bundle where it has weights for the engine cuda, else of the real model.

    Raises ConfigError for what is no profile or no size of memory.
    """
    profile = read_profile(text, "--plan")
    limit = limit_of(None if max_memory is None else read_bytes(max_memory), max_memory, first_gpu())
    subject, size, about = _chosen(bundle, profile)
    if profile.window_latents is not None:
        subject = replace(subject, window_latents=profile.window_latents, windows=1)
    plans = {precision: memory_plan(subject, size, precision) for precision in get_args(PlanPrecision)}
    return {
        "of": about,
        "profile": profile.name,
        "size": list(size),
        "window_latents": subject.window_latents,
        "window_frames": frames_of(subject.window_latents, subject.sizes.vae.latent_frames),
        "windows_under_way": subject.windows,
        "limit": None if limit is None else {"bytes": limit.bytes, "name": limit.name},
        "precisions": {
            name: plan.as_dict() | {"fits": None if limit is None else plan.total <= limit.bytes}
            for name, plan in plans.items()
        },
    }


def _chosen(bundle: Bundle, profile: Profile) -> tuple[Subject, Size, str]:
    spec = bundle.generator
    if spec is None or "cuda" not in bundle.engines:
        why = f"bundle {bundle.name} holds nothing for the engine cuda"
        return real_subject(), profile.region, f"Wan2.1-Fun-V1.1-1.3B-Control with an occlusion head ({why})"
    try:
        subject = subject_of(spec)
    except ValueError as error:
        return real_subject(), profile.region, f"Wan2.1-Fun-V1.1-1.3B-Control (bundle {bundle.name}: {error})"
    size = place(profile.box, profile.picture, spec.multiple_px, spec.max_pixels, spec.profiles).profile
    return subject, size, f"bundle {bundle.name}, which runs in {precision_of(spec)}"
