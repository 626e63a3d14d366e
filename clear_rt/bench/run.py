"""The whole of `clear-rt bench`: every profile measured, then ceilings and quality, then one document of it all.

Ceilings and the reference engine come last, so that their memory is in no profile's peak.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from clear_rt.bench.baseline import baselines, require_baselines
from clear_rt.bench.ceilings import ceilings
from clear_rt.bench.clip import write_clip
from clear_rt.bench.config import BenchConfig
from clear_rt.bench.device import is_out_of_memory, peaks, release, reset_peaks
from clear_rt.bench.document import Document, headed
from clear_rt.bench.end_to_end import frames_needed, left_out, run_end_to_end
from clear_rt.bench.entry import Measured, entry
from clear_rt.bench.network import measure
from clear_rt.bench.pictures import WARMUP_FRAMES, measure_pictures
from clear_rt.bench.plan import Plan, planned
from clear_rt.bench.quality import compared
from clear_rt.bench.quality_choice import not_compared
from clear_rt.bench.sizes import Sizes, sizes_of
from clear_rt.bundle import Bundle, open_bundle
from clear_rt.config import DenoiseConfig
from clear_rt.errors import EngineError
from clear_rt.memory_plan.room import room_for
from clear_rt.runtime.engine import Engine, open_engine

if TYPE_CHECKING:
    from clear_rt.generator import GeneratorSpec

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: an open engine, and the bundle that it runs."""

    engine: Engine
    bundle: Bundle
    spec: GeneratorSpec

    @property
    def precision(self) -> str:
        """What the engine says that it computes in (`precision`, where it has that), else what its bundle says."""
        return str(getattr(self.engine, "precision", self.spec.precision))


def bench(config: BenchConfig, tell: Tell = lambda stage: None) -> Document:
    """Opens what `config` names, measures, and returns the document.

    Raises:
        ConfigError: what is no profile, or what the bundle does not take. BundleError, EngineError: as `open_bundle`
        and `open_engine`; EngineError where the bundle has no generator, or where a network fails.
    """
    begun = perf_counter()
    bundle = open_bundle(config.bundle)
    spec = bundle.generator
    if spec is None:
        raise EngineError(
            f"bundle {bundle.name} holds the occlusion prior only, and bench measures a generator; "
            "give another --bundle"
        )
    plans = planned(config, bundle, spec)
    require_baselines(config.baselines)
    _admit(plans, config, bundle)
    bundle_s = perf_counter() - begun
    tell("opening the engine")
    engine = open_engine(config.engine, bundle, kernels=config.kernels)
    opened_s = {"bundle_open_s": bundle_s, "engine_open_s": perf_counter() - begun - bundle_s}
    document = bench_engine(Subject(engine, bundle, spec), plans, config, opened_s, tell)
    # Baselines need its memory.
    del engine
    return document | {"baselines": _baselines(plans, config, spec, document, tell)}


def bench_engine(
    subject: Subject,
    plans: list[Plan],
    config: BenchConfig,
    opened_s: dict[str, float] | None = None,
    tell: Tell = lambda stage: None,
) -> Document:
    """As `bench`, of an engine that is open; `opened_s` says what opening took, part by part."""
    measured, out_of_memory = _measured(subject, plans, config, tell)
    cold = dict(opened_s or {})
    cold["first_frame_s"] = sum(cold.values()) + measured[0].network.first_frame_s
    tell("ceilings")
    limits = ceilings()
    qualities = [_quality(subject, each.plan, config, tell) for each in measured]
    sizes, not_counted = _sizes(subject)
    return headed(
        subject.bundle,
        engine=subject.engine.name,
        kernels=config.kernels,
        precision=subject.precision,
        runs=config.runs,
        warmups=config.warmups,
        cold=cold,
        ceilings=limits.as_dict(),
        not_counted=not_counted,
        graphs=_graphs(subject.engine),
        profiles=[
            entry(each, quality, subject.spec, sizes, limits, subject.precision)
            for each, quality in zip(measured, qualities, strict=True)
        ],
        out_of_memory=out_of_memory,
    )


def _measured(
    subject: Subject, plans: list[Plan], config: BenchConfig, tell: Tell
) -> tuple[list[Measured], list[dict[str, Any]]]:
    """What was measured, and the profiles that memory was too small for. Raises EngineError where it was for all."""
    measured, out_of_memory = list[Measured](), list[dict[str, Any]]()
    for plan in plans:
        try:
            measured.append(measure_profile(subject, plan, config, tell))
        except (EngineError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            out_of_memory.append(
                {
                    "profile": plan.profile.name,
                    "size": list(plan.size),
                    "reason": str(error) or "the host's memory is full",
                }
            )
        release()
    if not measured:
        raise EngineError(f"nothing was measured: {out_of_memory[0]['profile']}: {out_of_memory[0]['reason']}")
    return measured, out_of_memory


def measure_profile(subject: Subject, plan: Plan, config: BenchConfig, tell: Tell = lambda stage: None) -> Measured:
    """Networks first, so that their first frame is a cold one, then pictures, then the whole job."""
    since_reset = reset_peaks()
    network = measure(
        subject.engine,
        subject.spec,
        plan.size,
        window=plan.window,
        steps=plan.steps,
        runs=config.runs,
        warmups=config.warmups,
        tell=tell,
    )
    memory = {"network": peaks(since_reset=since_reset)}
    whole_frames = 0 if config.end_to_end is False else frames_needed(plan.window)
    with tempfile.TemporaryDirectory(prefix="clear-rt-bench-") as folder:
        tell(f"{plan.profile.name}: clip")
        frames = max(config.picture_frames + WARMUP_FRAMES, whole_frames)
        clip = write_clip(Path(folder) / "clip.mp4", plan.profile, frames)
        tell(f"{plan.profile.name}: pictures")
        pictures = measure_pictures(subject.engine, subject.bundle, plan.profile, clip, config.picture_frames)
        reason = left_out(config, network, pictures, frames)
        tell(f"{plan.profile.name}: end to end")
        ended: dict[str, Any] = {"left_out": reason}
        if reason is None:
            denoise = DenoiseConfig(policy=plan.policy, steps=plan.steps)
            since_reset = reset_peaks()
            ended = run_end_to_end(subject.engine, subject.bundle, plan.profile, clip, denoise, plan.window)
            memory["end_to_end"] = peaks(since_reset=since_reset)
    return Measured(plan, network, pictures, ended, memory)


def _admit(plans: list[Plan], config: BenchConfig, bundle: Bundle) -> None:
    """Raises EngineError where a profile does not fit the memory that it may have, ConfigError as `room_for`."""
    for plan in plans:
        denoise = DenoiseConfig(policy=plan.policy, steps=plan.steps)
        room = room_for(bundle, config.engine, config.kernels, denoise, config.max_memory, "--profile")
        if room is not None:
            room.require(plan.size, plan.window.latents)


def _baselines(
    plans: list[Plan], config: BenchConfig, spec: GeneratorSpec, document: Document, tell: Tell
) -> list[dict[str, Any]]:
    if not config.baselines:
        return []
    try:
        sizes = sizes_of(spec)
    except ValueError as error:
        names = [plan.profile.name for plan in plans]
        return [
            {"profile": name, "baseline": baseline, "not_measured": f"of what size it would be is not known: {error}"}
            for name in names
            for baseline in config.baselines
        ]
    return baselines(config.baselines, plans, sizes, document["profiles"], tell)


def _quality(subject: Subject, plan: Plan, config: BenchConfig, tell: Tell) -> dict[str, Any]:
    reason = not_compared(plan, config, subject.engine, subject.bundle)
    if reason is not None:
        return {"not_measured": reason}
    tell(f"{plan.profile.name}: quality")
    reference = open_engine("onnx", subject.bundle)
    return compared(subject.engine, reference, subject.spec, plan.size, window=plan.window, steps=plan.steps)


def _graphs(engine: Engine) -> dict[str, int] | None:
    """How many CUDA graphs were captured in all, and the memory they share; None of an engine without any."""
    graphs = getattr(engine, "graphs", None)
    return None if graphs is None else {"count": graphs.count, "reserved_bytes": graphs.reserved_bytes}


def _sizes(subject: Subject) -> tuple[Sizes | None, str | None]:
    """The networks' sizes, or why arithmetic is not counted."""
    try:
        return sizes_of(subject.spec), None
    except ValueError as error:
        return None, f"arithmetic was not counted: bundle {subject.bundle.name}: {error}"
