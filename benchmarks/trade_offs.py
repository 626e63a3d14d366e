"""What every choice of the design is worth, on real clips, by clear-tiny: its ablation.

Fewer steps, other couplings of windows, a band in the place of the whole frame, other ways to put the fill into the
picture, nothing carried over from other frames, attention that weighs no key, narrower precisions.

`python -m benchmarks.trade_offs [--clip FILE] [--frames 33] [--write] [--precision bf16]`. Every result is compared
with that of five steps, policy `paper`, over the whole frame, in fp32 on a CPU and in bf16 on a GPU. All but precisions
is measured with ONNX Runtime; those with the engine cuda where torch sees a GPU. `--write` puts the
tables into docs/TRADE_OFFS.md.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.environment import ROOT
from benchmarks.report import Row, finish
from benchmarks.trade_off_attention import plainly_attending
from benchmarks.trade_off_clips import HOME, Case, cases
from benchmarks.trade_off_engines import PRECISIONS, engines_of
from benchmarks.trade_off_tables import page
from clear_rt.bundle import Bundle, open_bundle
from clear_rt.config import (
    CompositeConfig,
    CompositeMode,
    DenoiseConfig,
    FillMode,
    Policy,
    Propagation,
    RegionConfig,
    RunConfig,
    WriteConfig,
)
from clear_rt.errors import InputError
from clear_rt.metrics.evaluate import evaluate
from clear_rt.remover import Remover
from clear_rt.runtime.engine import Engine, open_engine
from training.materials import fetch_clips

STEPS = (5, 4, 3, 2, 1)
POLICIES: tuple[Policy, ...] = ("paper", "reference", "stream")
COMPOSITES: tuple[CompositeMode, ...] = ("membrane", "paste", "off")
PROPAGATIONS: tuple[Propagation, ...] = ("past", "off")
REGIONS = ("full", "band")
SAMPLE = ROOT / "samples" / "city-clean.mp4"
# Held out of training; the first two of bench_quality.
HELD_OUT = ("goldengate.mp4", "bikes.mp4")
PAGE = ROOT / "docs" / "TRADE_OFFS.md"
EVERY_FRAMES = 4


class Choice(NamedTuple):
    """One way to run; `precision` "fp32" is ONNX Runtime's. `fill` "membrane" runs no model at all."""

    steps: int = 5
    policy: Policy = "paper"
    region: str = "full"
    precision: str = "fp32"
    composite: CompositeMode = "membrane"
    attention: str = "weighted"
    fill: FillMode = "model"
    propagate: Propagation = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one clip: frames per second of the whole run, processor time of all cores, and what came of it.

    The first two decibels (None: equal) and `ssim` are to the reference result, the last two to the clean clip, over
    the frame and inside the true mask; `flicker` is the warping error there as a multiple of the clean clip's.
    """

    choice: Choice
    clip: str
    fps: float
    processor_ms: float
    frame_db: float | None
    inside_db: float | None
    ssim: float | None
    clean_frame_db: float | None
    clean_inside_db: float | None
    flicker: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", action="append", type=Path, help="a clean clip; the sample and two held-out ones")
    parser.add_argument("--frames", type=int, default=33, help="of each clip; 33 are two windows")
    parser.add_argument("--steps", action="append", type=int, choices=STEPS)
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    bundle = open_bundle()
    steps = tuple(count for count in options.steps or STEPS if count in _tables(bundle))
    found, narrow = list[Outcome](), list[Outcome]()
    made = cases(options.clip or default_clips(), options.frames)
    onnx = open_engine("onnx", bundle)
    parts = list[Outcome]()
    for case in made:
        found += measured(onnx, bundle, case, [Choice(*each) for each in product(steps, POLICIES, REGIONS)])
        parts += ablated(onnx, bundle, case, min(steps))
    engines, reason = engines_of(bundle, options.precision or PRECISIONS, made)
    for case in made:
        narrow += compared_precisions(engines, bundle, case)
    if options.write:
        PAGE.write_text(
            page(found, parts, narrow, reason, [case.name for case in made], options.frames), encoding="utf-8"
        )
    finish("trade", [row for outcome in (*found, *parts, *narrow) for row in rows(outcome)])
    return 0


def default_clips() -> list[Path]:
    """The sample, and held-out clips where they can be fetched."""
    try:
        return [SAMPLE, *fetch_clips(HELD_OUT).values()]
    except (OSError, subprocess.CalledProcessError, InputError) as error:
        print(f"the sample alone is measured, others cannot be fetched here: {' '.join(str(error).split())[:200]}")
        return [SAMPLE]


def _tables(bundle: Bundle) -> set[int]:
    assert bundle.generator is not None
    return set(bundle.generator.step_tables)


def measured(engine: Engine, bundle: Bundle, case: Case, choices: Sequence[Choice]) -> Iterator[Outcome]:
    """The reference first, whether it is among the choices or not."""
    reference = case.path("reference")
    _run(engine, bundle, case, Choice(precision=choices[0].precision), reference)
    for choice in choices:
        result = case.path("result")
        fps, processor_s = _run(engine, bundle, case, choice, result)
        yield _outcome(case, choice, reference, result, fps, processor_s)


def ablated(engine: Engine, bundle: Bundle, case: Case, steps: int) -> Iterator[Outcome]:
    """One part of the design after the other taken away, in a band.

    The composite, what other frames show, the weights of keys, the model.
    """
    whole = Choice(steps=steps, region="band")
    choices = [whole._replace(composite=mode) for mode in COMPOSITES]
    yield from measured(engine, bundle, case, [*choices, *(whole._replace(propagate=way) for way in PROPAGATIONS)])
    plain = plainly_attending(bundle, HOME / "plain-attention")
    reference, result = case.path("reference"), case.path("result")
    for choice, opened in ((whole._replace(attention="plain"), plain), (whole._replace(fill="membrane"), bundle)):
        attending = open_engine("onnx", opened, generates=choice.fill == "model")
        yield _outcome(case, choice, reference, result, *_run(attending, opened, case, choice, result))


def compared_precisions(engines: dict[str, Engine], bundle: Bundle, case: Case) -> Iterator[Outcome]:
    """Every precision beside the first, which is bf16."""
    reference = case.path("reference")
    for i, (precision, engine) in enumerate(engines.items()):
        choice = Choice(precision=precision)
        if not i:
            _run(engine, bundle, case, choice, reference)
        result = case.path("result")
        fps, processor_s = _run(engine, bundle, case, choice, result)
        yield _outcome(case, choice, reference, result, fps, processor_s)


def _outcome(case: Case, choice: Choice, reference: Path, result: Path, fps: float, processor_s: float) -> Outcome:
    beside = evaluate(result, reference, None, case.mask, every_frames=EVERY_FRAMES, find_text=False).result
    clean = evaluate(result, case.clean, None, case.mask, every_frames=EVERY_FRAMES, find_text=False).result
    return Outcome(
        choice=choice,
        clip=case.name,
        fps=fps,
        processor_ms=1000 * processor_s / case.frames,
        frame_db=_finite(beside.psnr.frame_db),
        inside_db=_finite(beside.psnr.inside_db),
        ssim=beside.ssim,
        clean_frame_db=_finite(clean.psnr.frame_db),
        clean_inside_db=_finite(clean.psnr.inside_db),
        flicker=clean.warping_ratio,
    )


def _finite(decibels: float | None) -> float | None:
    return None if decibels == float("inf") else decibels


def _run(engine: Engine, bundle: Bundle, case: Case, choice: Choice, target: Path) -> tuple[float, float]:
    """Frames per second, and seconds of processor time; the file is without loss, so that it is what was made."""
    region = RegionConfig(mode="full") if choice.region == "full" else RegionConfig(mode="fixed", boxes=(case.band,))
    denoise = DenoiseConfig(steps=choice.steps, policy=choice.policy)
    config = RunConfig(
        region=region,
        composite=CompositeConfig(mode=choice.composite, fill=choice.fill, propagate=choice.propagate),
        denoise=denoise if choice.fill == "model" else DenoiseConfig(),
        write=WriteConfig(lossless=True),
    )
    remover, begun = Remover(config, bundle=bundle, engine=engine), time.process_time()
    report = remover(case.source, target)
    if not report.runs:
        raise RuntimeError(f"no text was found in {case.source}: take another clip")
    return report.fps, time.process_time() - begun


def rows(outcome: Outcome) -> Iterator[Row]:
    choice = outcome.choice
    case = " ".join([outcome.clip, *map(str, choice)])
    detail = asdict(outcome) | {"choice": choice._asdict()}
    said = f"{'equal' if outcome.frame_db is None else f'{outcome.frame_db:.1f} dB'} to the reference"
    yield Row(case=case, metric="remove", value=outcome.fps, unit="fps", bound=None, bound_name=said, detail=detail)


if __name__ == "__main__":
    raise SystemExit(main())
