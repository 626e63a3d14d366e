"""What will be measured at each profile: the size that the bundle makes of it, its window, and what is said of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clear_rt.bench.config import BenchConfig
from clear_rt.bench.network import Window
from clear_rt.config import DenoiseConfig, Policy
from clear_rt.crops import place
from clear_rt.errors import ConfigError
from clear_rt.generate import fitting
from clear_rt.profiles import Profile, read_profile
from clear_rt.schedule import latents_of
from clear_rt.shapes import Size

if TYPE_CHECKING:
    from clear_rt.bundle import Bundle
    from clear_rt.generator import GeneratorSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """`size` is what the networks see; `notes` are sentences on how it differs from what the profile says."""

    profile: Profile
    size: Size
    window: Window
    steps: int
    policy: Policy
    notes: tuple[str, ...]


def planned(config: BenchConfig, bundle: Bundle, spec: GeneratorSpec) -> list[Plan]:
    """Raises ConfigError for what is no profile, and for steps, policies and windows that the bundle does not take."""
    return [_planned(read_profile(text), config, bundle, spec) for text in config.profiles]


def _planned(profile: Profile, config: BenchConfig, bundle: Bundle, spec: GeneratorSpec) -> Plan:
    policy: Policy = config.policy or ("paper" if profile.frames is None else "stream")
    table = fitting(spec, DenoiseConfig(steps=config.steps, policy=policy)).table
    window = _window(profile, policy, bundle, spec)
    size = place(profile.box, profile.picture, spec.multiple_px, spec.max_pixels, spec.profiles).profile
    notes = () if size == profile.region else (_said(profile, size, bundle, spec),)
    return Plan(profile, size, window, len(table.rows), policy, notes)


def _window(profile: Profile, policy: Policy, bundle: Bundle, spec: GeneratorSpec) -> Window:
    if profile.frames is None:
        return Window.of(spec, policy)
    latents = latents_of(profile.frames, spec.latent_frames)
    if latents == spec.window_latents:
        return Window.of(spec, policy)
    if spec.latents_fixed or policy == "reference":
        why = "always hold" if spec.latents_fixed else "hold, for policy reference,"
        raise ConfigError(
            f"--profile {profile.name} has windows of {latents} latents, and those of bundle {bundle.name} {why} "
            f"{spec.window_latents}; name another profile or bundle"
        )
    # As `build-engine --profile` chooses it: a fifth of a window.
    return Window(latents, round(latents * spec.overlap_latents / spec.window_latents), spec.latent_frames)


def _said(profile: Profile, size: Size, bundle: Bundle, spec: GeneratorSpec) -> str:
    asked, made = ("x".join(map(str, each)) for each in (profile.region, size))
    limit = "its engines are for other sizes" if spec.profiles else f"it takes {spec.max_pixels} pixels at most"
    return f"bundle {bundle.name} sees the region of {asked} as {made}: {limit}"
