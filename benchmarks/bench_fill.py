"""The model's fill beside the membrane alone under the same matte, on the clips of `bench_quality`.

`python -m benchmarks.bench_fill [--bundle DIR] [--frames 81] [--only zh] [--look outline] [--steps N]
[--composite paste] [--sheets DIR]`. Region and matte are found twice by the same prior, that of the bundle, so that all
that differs is the fill. Burned clips are kept in .cache/quality. `--sheets` draws a picture per case to look at.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import clear_rt
from benchmarks.bench_quality import CASES, HOME, LOOKS, LOSSLESS, share_row, trimmed
from benchmarks.contact_sheet import draw_sheet, pictures_of
from benchmarks.environment import ROOT
from benchmarks.report import Row, finish
from clear_rt.bundle import open_bundle
from clear_rt.burn.config import BurnConfig, ScriptName, StyleName
from clear_rt.burn.video import burn
from clear_rt.config import CompositeConfig, CompositeMode, DenoiseConfig, RunConfig
from clear_rt.metrics.evaluate import evaluate
from clear_rt.metrics.warping import Warping, WarpingSum
from training.materials import fetch_clips

EVERY_FRAMES = 5
# What the project asks of the fill: no more than a fifth above the error that the flow itself makes.
WARPING_LIMIT = 1.2
GAIN = "gain inside mask"


@dataclass(frozen=True, slots=True)
class Case:
    """One clip with text of one script in one look. Burned once per number of frames and version of `clear_rt.burn`."""

    script: ScriptName
    clip: Path
    seed: int
    look: StyleName
    count_frames: int

    @property
    def name(self) -> str:
        return f"{self.script} {self.clip.stem} {self.look}"

    def path(self, part: str) -> Path:
        return HOME / f"{self.clip.stem}-{self.count_frames}-{self.script}-{self.look}-{self.seed}-{part}"

    def videos(self) -> dict[str, Path]:
        """Paths of "source", "clean" and "mask", made where no earlier run left them, and of "membrane" and "model"."""
        clean = trimmed(self.clip, self.count_frames)
        source, mask = self.path(f"{_burn_version()}-text.mp4"), self.path(f"{_burn_version()}-mask.mkv")
        if not (source.exists() and mask.exists()):
            burn(clean, source, BurnConfig(script=self.script, seed=self.seed, style=self.look), mask=mask)
        results = {fill: self.path(f"{fill}.mp4") for fill in ("membrane", "model")}
        return {"source": source, "clean": clean, "mask": mask} | results


@cache
def _burn_version() -> str:
    causes = b"".join(path.read_bytes() for path in sorted((ROOT / "clear_rt" / "burn").glob("*.py")))
    return hashlib.sha256(causes).hexdigest()[:8]


def measure(case: Case, configs: Mapping[str, RunConfig], sheets: Path | None = None) -> list[Row]:
    """Remove with both fills ("membrane", "model"), compare each with the clean clip, draw the sheet if asked to."""
    videos = case.videos()
    reports = {fill: clear_rt.remove(videos["source"], videos[fill], config) for fill, config in configs.items()}
    model, membrane = reports["model"], reports["membrane"]
    if model.runs != membrane.runs:
        raise RuntimeError(f"{case.name}: the two fills were given other regions, {model.runs} and {membrane.runs}")
    if sheets is not None:
        draw_sheet(videos, sheets / f"{case.name.replace(' ', '-')}.png")
    detail = {fill: report.as_dict() for fill, report in reports.items()}
    speed = Row(case=case.name, metric="remove, model", value=model.fps, unit="fps", bound=membrane.fps,
                bound_name="membrane", detail=detail)  # fmt: skip
    return [*_fidelity(case.name, videos), *_warping_rows(case.name, _warping(videos)), speed]


def _fidelity(case: str, videos: Mapping[str, Path]) -> list[Row]:
    """PSNR of both fills, and text that the model's leaves or invents."""
    clean, source, mask = (videos[name] for name in ("clean", "source", "mask"))
    model = evaluate(videos["model"], clean, source, mask, every_frames=EVERY_FRAMES)
    membrane = evaluate(videos["membrane"], clean, source, mask, every_frames=EVERY_FRAMES, find_text=False)
    inside_db, beside_db = model.result.psnr.inside_db, membrane.result.psnr.inside_db
    frame_db = model.result.psnr.frame_db
    if model.source is None or inside_db is None or beside_db is None or frame_db is None:
        raise RuntimeError(f"{source} carries no text: choose another seed")
    detail = {"model": model.as_dict(), "membrane": membrane.as_dict()}
    untouched = 100 * (model.source.frames_with_text_on_mask or 0.0)
    return [
        Row(case=case, metric="PSNR inside mask", value=inside_db, unit="dB", bound=beside_db, bound_name="membrane",
            detail=detail),
        Row(case=case, metric=GAIN, value=inside_db - beside_db, unit="dB", bound=None,
            bound_name="model minus membrane"),
        Row(case=case, metric="PSNR frame", value=frame_db, unit="dB", bound=membrane.result.psnr.frame_db,
            bound_name="membrane"),
        share_row(case, "frames with text", model.result.frames_with_text, model.clean_frames_with_text,
                  f"every {EVERY_FRAMES}th frame"),
        share_row(case, "text in its place", model.result.frames_with_text_on_mask,
                  model.clean_frames_with_text_on_mask, f"untouched {untouched:.0f} %"),
    ]  # fmt: skip


def _warping(videos: Mapping[str, Path]) -> Warping:
    """The error of the clean clip, and of the fills "model" and "membrane", inside the true mask."""
    total = WarpingSum(2)
    for pictures in pictures_of({name: videos[name] for name in ("clean", "model", "membrane", "mask")}):
        total.add(pictures["clean"], (pictures["model"], pictures["membrane"]), pictures["mask"] > 0)
    return total.result()


def _warping_rows(case: str, found: Warping) -> list[Row]:
    """No row where there is nothing to follow: one frame alone, or a clean clip that stands still."""
    return [
        Row(case=case, metric=f"warping, {fill}", value=ratio, unit="x clean", bound=WARPING_LIMIT, bound_name="limit",
            detail={"mean_square": square, "clean_mean_square": found.clean, "pixels": found.pixels})
        for fill, ratio, square in zip(("model", "membrane"), found.ratios(), found.judged, strict=True)
        if ratio is not None
    ]  # fmt: skip


def mean_rows(look: str, rows: list[Row]) -> list[Row]:
    """The mean gain of a look's cases, and the loss of the case that loses most (0 where all gain)."""
    gains = [row for row in rows if row.metric == GAIN]
    if not gains:
        return []
    worst = min(gains, key=lambda row: row.value)
    case, detail = f"mean {look}", {"gains_db": {row.case: row.value for row in gains}}
    mean_db = sum(row.value for row in gains) / len(gains)
    return [
        Row(case=case, metric=GAIN, value=mean_db, unit="dB", bound=None, bound_name=f"{len(gains)} cases",
            detail=detail),
        Row(case=case, metric="worst loss", value=max(0.0, -worst.value), unit="dB", bound=None,
            bound_name=f"{worst.case}: {worst.value:+.2f} dB"),
    ]  # fmt: skip


def run_configs(bundle: Path | None, steps: int | None, composite: CompositeMode) -> dict[str, RunConfig]:
    """Both fills with the same bundle, so with the same prior, and the same region and matte."""
    fill = CompositeConfig(fill="model", mode=composite)
    return {
        "membrane": RunConfig(bundle=bundle, write=LOSSLESS),
        "model": RunConfig(bundle=bundle, write=LOSSLESS, composite=fill, denoise=DenoiseConfig(steps=steps)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="the embedded one if left out")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--only", choices=[script for script, _, _ in CASES])
    parser.add_argument("--look", choices=LOOKS)
    parser.add_argument("--steps", type=int, help="the bundle's if left out")
    parser.add_argument("--composite", choices=("membrane", "paste"), default="membrane")
    parser.add_argument("--sheets", type=Path, help="folder for a contact sheet per case")
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    if bundle.generator is None:
        print(f"nothing measured: {bundle.name} holds the occlusion prior only; name another with --bundle")
        finish("fill", [])
        return
    looks = [look for look in LOOKS if options.look in (None, look)]
    cases = [case for case in CASES if options.only in (None, case[0])]
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        clips = fetch_clips(tuple(clip for _, clip, _ in cases))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"nothing measured: the clips cannot be fetched here ({error})")
        finish("fill", [])
        return
    configs = run_configs(options.bundle, options.steps, options.composite)
    rows: list[Row] = []
    for look in looks:
        measured = [
            row
            for script, clip, seed in cases
            for row in measure(Case(script, clips[clip], seed, look, options.frames), configs, options.sheets)
        ]
        rows += measured + mean_rows(look, measured)
    finish("fill", rows)


if __name__ == "__main__":
    main()
