"""One profile's entry of a document: its stages with rates and shares, its window, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clear_rt.bench.counted import achieved, stage_works, step_shares, tokens
from clear_rt.bench.network import CONTROL, DECODE, ENCODE, STEP, NetworkTimes, Window
from clear_rt.bench.pictures import COMPOSITE, PRIOR, VIDEO_DECODE, VIDEO_ENCODE, PictureTimes
from clear_rt.bench.samples import percentile

if TYPE_CHECKING:
    from clear_rt.bench.ceilings import Ceilings
    from clear_rt.bench.plan import Plan
    from clear_rt.bench.sizes import Sizes
    from clear_rt.bench.work import Work
    from clear_rt.generator import GeneratorSpec

LATENCY_FPS = (25, 30)
_PEAKS = ("process_peak_bytes", "gpu_peak_bytes")
_PER = {ENCODE: "latent", CONTROL: "window", STEP: "step of a window", DECODE: "latent"}


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured at one profile before ceilings and quality are known; the last two in JSON types.

    `memory`: peaks of the parts `network` and, where it ran, `end_to_end`.
    """

    plan: Plan
    network: NetworkTimes
    pictures: PictureTimes
    end_to_end: dict[str, Any]
    memory: dict[str, dict[str, Any]]


def entry(
    measured: Measured,
    quality: dict[str, Any],
    spec: GeneratorSpec,
    sizes: Sizes | None,
    limits: Ceilings,
    precision: str,
) -> dict[str, Any]:
    """JSON types. Without `sizes` no arithmetic is counted."""
    plan, network = measured.plan, measured.network
    works = {} if sizes is None else stage_works(plan, spec, sizes)
    return {
        "profile": plan.profile.name,
        "picture": list(plan.profile.picture),
        "region": list(plan.profile.region),
        "size": list(plan.size),
        "notes": list(plan.notes),
        "policy": plan.policy,
        "steps": plan.steps,
        "window": _window(plan.window) | {"tokens": tokens(plan, spec)},
        "stages": _stages(measured, works, limits, precision),
        "step_flop": None if sizes is None else step_shares(plan, spec, sizes),
        "network": _network(network, works),
        "encoder": {"name": measured.pictures.encoder, "flush_s": measured.pictures.encode_flush_s},
        "end_to_end": measured.end_to_end,
        "latency": _latency(network),
        "memory": measured.memory | {name: _largest(measured.memory, name) for name in _PEAKS},
        "quality": quality,
    }


def _largest(memory: dict[str, dict[str, Any]], name: str) -> int | None:
    """The largest peak of all parts of a profile, None where none was found out."""
    return max((part[name] for part in memory.values() if part[name] is not None), default=None)


def _window(window: Window) -> dict[str, int]:
    return {
        "latents": window.latents,
        "overlap_latents": window.overlap,
        "frames": window.frames,
        "new_latents": window.new_latents,
        "new_frames": window.new_frames,
    }


def _stages(measured: Measured, works: dict[str, Work], limits: Ceilings, precision: str) -> dict[str, Any]:
    """In the order in which a frame passes them."""
    network, pictures = measured.network, measured.pictures
    found: dict[str, Any] = {}
    for name in (VIDEO_DECODE, PRIOR, ENCODE, CONTROL, STEP, DECODE, COMPOSITE, VIDEO_ENCODE):
        if name in pictures.stages:
            found[name] = pictures.stages[name].as_dict() | {"per": "frame"}
            continue
        samples = network.stages[name]
        found[name] = samples.as_dict() | {"per": _PER[name], "calls_per_window": network.calls_per_window(name)}
        if name in works:
            found[name] |= achieved(works[name], samples.p50, limits, precision, is_vae=name in (ENCODE, DECODE))
    return found


def _network(network: NetworkTimes, works: dict[str, Work]) -> dict[str, Any]:
    """A steady window: its calls at their medians, and the windows as they were."""
    flop = sum(work.flop * network.calls_per_window(name) for name, work in works.items())
    return {
        "fps": network.fps,
        "seconds_per_window": network.seconds_per_window,
        "flop_per_window": flop or None,
        "first_frame_s": network.first_frame_s,
        "window": network.windows.as_dict(),
    }


def _latency(network: NetworkTimes) -> dict[str, Any]:
    """Frames wait until their window is full, then for its computation; coding and network are not in it."""
    compute_s = percentile(network.windows.seconds, 99)
    buffers = {fps: network.window.frames / fps for fps in LATENCY_FPS}
    return {
        "compute_p99_s": compute_s,
        "at_fps": {str(fps): {"buffer_s": s, "total_s": s + compute_s} for fps, s in buffers.items()},
    }
