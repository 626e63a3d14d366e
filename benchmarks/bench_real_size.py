"""Real time on one GPU: the `cuda` engine at the real size with random weights, beside diffusers on the same GPU.

`python -m benchmarks.bench_real_size [--of bf16 --of fp8 --of diffusers] [--profile 720p-band192]`.
Beside every speed stands how far the velocity and the decoded frames are from float32. Without a GPU it says so.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.real_size_networks import RealSizeEngine, in_policy_fp8, real_dit, real_size_bundle, real_vae
from benchmarks.report import Row, finish
from benchmarks.timeline import draw, idle_share, spans, steady
from clear_rt.bench.baseline import measure_baseline
from clear_rt.bench.clip import write_clip
from clear_rt.bench.config import BenchConfig
from clear_rt.bench.end_to_end import run_end_to_end
from clear_rt.bench.network import CONTROL, DECODE, ENCODE, STEP
from clear_rt.bench.plan import Plan, planned
from clear_rt.bench.run import Subject, measure_profile
from clear_rt.bench.samples import percentile
from clear_rt.bundle import Bundle
from clear_rt.config import DenoiseConfig
from clear_rt.errors import EngineError
from clear_rt.memory_plan.subject import real_subject
from clear_rt.models.narrowed import narrowed

PROFILES = ("720p-band192", "live33", "720p")
PRECISIONS = ("bf16", "fp8")
BASELINES = ("diffusers", "diffusers compiled")
DEVICE = torch.device("cuda")
# Real time at 25 fps; the targets of the design, section 10.
TARGET_FPS = {"720p-band192": 30.0, "live33": 30.0, "720p": 6.0}
# Of a picture of this many latents the whole decode fits in float32.
CHECKED_LATENTS = 3
# Pictures are not what is measured here.
PICTURE_FRAMES = 10
RUN_WINDOWS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--of", action="append", choices=(*PRECISIONS, *BASELINES), help="what is measured; all if left out"
    )
    parser.add_argument("--profile", action="append", choices=PROFILES)
    parser.add_argument("--runs", type=int, default=3, help="steady windows that are timed")
    parser.add_argument("--warmups", type=int, default=1, help="windows before these, after a first one")
    parser.add_argument("--end-to-end", action="store_true", help="file to file as well")
    parser.add_argument("--timeline", type=Path, metavar="DIR", help="where pictures of the GPU's time in that go")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("nothing measured: no NVIDIA GPU here")
        finish("real size", [])
        return 0
    rows: list[Row] = []
    names = tuple(options.profile or PROFILES)
    bundle = real_size_bundle()
    assert bundle.generator is not None
    config = BenchConfig(
        profiles=names,
        runs=options.runs,
        warmups=options.warmups,
        picture_frames=PICTURE_FRAMES,
        end_to_end=False,
    )
    plans = planned(config, bundle, bundle.generator)
    for name in options.of or (*PRECISIONS, *BASELINES):
        if name in BASELINES:
            for plan in plans:
                rows += baseline(plan, name, compiled=name == BASELINES[1])
            continue
        engine, error = engine_of(name)
        for plan in plans:
            rows += measured(Subject(engine, bundle, bundle.generator), plan, config, name, error)
            if options.end_to_end:
                rows += file_to_file(engine, bundle, plan, name, options.timeline)
        del engine
        torch.cuda.empty_cache()
    finish("real size", rows)
    return 0


@torch.no_grad()
def engine_of(precision: str) -> tuple[RealSizeEngine, dict[str, float]]:
    """The engine, and the relative errors of its velocity and of frames that it decodes, against float32."""
    vae, dit = real_vae(DEVICE), real_dit(DEVICE)
    inputs = [torch.randn(1, 16, 9, 24, 160, device=DEVICE) for _ in range(2)]
    row = torch.tensor(1, device=DEVICE)
    control = dit.control(inputs[1])
    exact = dit(inputs[0], control, row)
    if precision == "fp8":
        dit = in_policy_fp8(dit, inputs[0], control)
    frames = vae.decode(inputs[0][:, :, :CHECKED_LATENTS])
    eager = narrowed(real_vae(DEVICE), torch.bfloat16).decode(inputs[0][:, :, :CHECKED_LATENTS].bfloat16())
    latents = vae.encode(frames)
    engine = RealSizeEngine(narrowed(dit, torch.bfloat16), vae, real_size_bundle())
    window = inputs[0][0].cpu().numpy()
    velocity = engine.velocity(window, engine.control(inputs[1][0].cpu().numpy()), 1)
    errors = {
        "velocity": relative(torch.from_numpy(velocity), exact[0].cpu()),
        "decoded": relative(_decoded(engine, inputs[0][0]), frames[0].cpu()),
        "decoded, eager torch": relative(eager.cpu(), frames.cpu()),
        "encoded": relative(_encoded(engine, frames[0]), latents[0].cpu()),
    }
    print(precision, {name: f"{error:.2e}" for name, error in errors.items()}, flush=True)
    return engine, errors


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def _decoded(engine: RealSizeEngine, latents: Tensor) -> Tensor:
    caches, found = None, []
    for i in range(CHECKED_LATENTS):
        frames, caches = engine.decode(latents[:, i].cpu().numpy(), caches)
        found.append(torch.from_numpy(frames))
    return torch.cat(found, 1)


def _encoded(engine: RealSizeEngine, frames: Tensor) -> Tensor:
    caches, found = None, []
    for start, stop in ((0, 1), *((i, i + 4) for i in range(1, frames.shape[1], 4))):
        latent, caches = engine.encode(frames[:, start:stop].cpu().numpy(), caches)
        found.append(torch.from_numpy(latent))
    return torch.stack(found, 1)


def measured(subject: Subject, plan: Plan, config: BenchConfig, name: str, error: dict[str, float]) -> Iterator[Row]:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    found = measure_profile(subject, plan, config)
    network, case = found.network, f"{plan.profile.name} {name}"
    detail = {
        "stages_us": {stage: {"p50": 1e6 * s.p50, "count": len(s.seconds)} for stage, s in network.stages.items()},
        "errors": error,
        "windows_s": network.windows.p50,
    }
    yield Row(
        case=case,
        metric="networks",
        value=network.fps,
        unit="fps",
        bound=TARGET_FPS.get(plan.profile.name),
        bound_name=f"target; velocity {100 * error['velocity']:.2f} %, frames {100 * error['decoded']:.2f} % off fp32",
        detail=detail,
    )
    for stage in (STEP, CONTROL, ENCODE, DECODE):
        times = network.stages[stage]
        yield Row(
            case=case,
            metric=stage,
            value=1e3 * times.p50,
            unit="ms",
            bound=None,
            bound_name=f"p95 {1e3 * percentile(times.seconds, 95):.1f} ms, {network.calls_per_window(stage)} a window",
        )
    yield Row(
        case=case,
        metric="GPU memory",
        value=torch.cuda.max_memory_reserved() / 1e9,
        unit="GB",
        bound=40.0 if plan.profile.name == "720p" else 8.0,
        bound_name="limit",
    )


def file_to_file(engine: RealSizeEngine, bundle: Bundle, plan: Plan, name: str, pictures: Path | None) -> Iterator[Row]:
    """A whole run over a clip of `RUN_WINDOWS` windows, and the share of it in which the GPU had nothing to do."""
    total_frames = plan.window.frames + (RUN_WINDOWS - 1) * plan.window.new_frames
    with tempfile.TemporaryDirectory() as folder:
        clip = write_clip(Path(folder) / "clip.mp4", plan.profile, total_frames)
        engine.graphs.played = []
        ended = run_end_to_end(
            engine, bundle, plan.profile, clip, DenoiseConfig(policy=plan.policy, steps=plan.steps), plan.window
        )
    found, engine.graphs.played = spans(engine.graphs.played), None
    case = f"{plan.profile.name} {name}"
    if "fps" not in ended:
        print(f"no run from file to file of {case}: {ended['left_out']}")
        return
    in_between = steady(found, RUN_WINDOWS, plan.steps)
    if pictures is not None:
        idle = f"{100 * idle_share(in_between):.1f} % idle"
        draw(pictures / f"timeline-{plan.profile.name}-{name}.png", found, f"{case}, {ended['fps']:.1f} fps, {idle}")
    yield Row(
        case=case,
        metric="file to file",
        value=ended["fps"],
        unit="fps",
        bound=TARGET_FPS.get(plan.profile.name),
        bound_name=f"target; {total_frames} frames, {RUN_WINDOWS} windows, 3 passes over the file",
        detail=ended,
    )
    yield Row(
        case=case,
        metric="GPU idle",
        value=100 * idle_share(in_between),
        unit="%",
        bound=10.0,
        bound_name="limit; from the first step of the second window to the last step of the last",
    )


def baseline(plan: Plan, name: str, *, compiled: bool) -> Iterator[Row]:
    try:
        found = measure_baseline(
            "compile" if compiled else "diffusers", real_subject().sizes, plan.size, plan.window, DEVICE
        )
    except (ImportError, RuntimeError, EngineError) as why_not:
        print(f"no baseline for {plan.profile.name}: {why_not}")
        return
    detail = {
        "step_s": found.step_s,
        "encode_s": found.encode_s,
        "decode_s": found.decode_s,
        "attention": found.attention,
    }
    yield Row(
        case=f"{plan.profile.name} {name}",
        metric="networks",
        value=found.fps(plan.steps),
        unit="fps",
        bound=None,
        bound_name=f"step {1e3 * found.step_s:.0f} ms, encode {found.encode_s:.2f} s, decode {found.decode_s:.2f} s",
        detail=detail,
    )


if __name__ == "__main__":
    raise SystemExit(main())
