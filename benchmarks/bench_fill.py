"""The model's fill beside the membrane alone under the same matte, on the clips of `bench_quality`.

`python -m benchmarks.bench_fill [--bundle DIR] [--frames 81] [--only zh] [--look outline] [--steps N]
[--composite paste] [--sheets DIR]`. Region and matte are found twice by the same prior, that of the bundle, so that all
that differs is the fill. Burned clips are kept in .cache/quality. `--sheets` draws a picture per case to look at.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

import clear_rt
from benchmarks.bench_quality import CASES, HOME, LOOKS, LOSSLESS, share_row, trimmed
from benchmarks.environment import ROOT
from benchmarks.report import Row, finish
from clear_rt import frames
from clear_rt.bundle import open_bundle
from clear_rt.burn.config import BurnConfig, ScriptName, StyleName
from clear_rt.burn.video import burn
from clear_rt.config import CompositeConfig, CompositeMode, DenoiseConfig, RunConfig
from clear_rt.metrics.evaluate import evaluate
from clear_rt.metrics.warping import Warping, WarpingSum
from clear_rt.shapes import Box, Size, grow
from training.materials import fetch_clips

UInt8 = npt.NDArray[np.uint8]
EVERY_FRAMES = 5
# What the project asks of the fill: no more than a fifth above the error that the flow itself makes.
WARPING_LIMIT = 1.2
GAIN = "gain inside mask"
SHEET_ROWS, SHEET_MARGIN_PX, SHEET_GAP_PX, LEAST_CROP_PX = 5, 16, 4, 480
LABEL_PX, FONT_PX = 36, 28
ERROR_GAIN = 4


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


def _pictures(videos: Mapping[str, Path]) -> Iterator[dict[str, UInt8]]:
    """RGB uint8 [H, W, 3] of all videos, frame by frame; of "mask" the alpha uint8 [H, W]."""
    infos = [frames.probe(path) for path in videos.values()]
    size = infos[0].height_px, infos[0].width_px
    for pictures in zip(*map(frames.read, infos), strict=True):
        yield {
            name: picture.planes[0].samples if name == "mask" else picture.rgb(*size)
            for name, picture in zip(videos, pictures, strict=True)
        }


def _warping(videos: Mapping[str, Path]) -> Warping:
    """The error of the clean clip, and of the fills "model" and "membrane", inside the true mask."""
    total = WarpingSum(2)
    for pictures in _pictures({name: videos[name] for name in ("clean", "model", "membrane", "mask")}):
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


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a mask video holds text: the box around all of it, its most covered row, the frames with any."""

    box: Box
    row_px: int
    frames: tuple[int, ...]


def extent(mask: Path) -> Extent:
    """Raises ValueError where the mask is empty throughout."""
    info = frames.probe(mask)
    with_text, total = [], np.zeros((info.height_px, info.width_px))
    for frame in frames.read(info):
        alpha = frame.planes[0].samples
        total += alpha
        with_text += [frame.index] if alpha.any() else []
    if not with_text:
        raise ValueError(f"{mask} is empty, so there is no text to draw a sheet of")
    rows, columns = np.flatnonzero(total.any(axis=1)), np.flatnonzero(total.any(axis=0))
    x_px, y_px = int(columns[0]), int(rows[0])
    tight = Box(x_px, y_px, int(columns[-1]) + 1 - x_px, int(rows[-1]) + 1 - y_px)
    box = grow(tight, SHEET_MARGIN_PX, SHEET_MARGIN_PX, Size(info.width_px, info.height_px))
    # Not the middle row: between two lines of text it would show none.
    return Extent(box, int(total.sum(axis=1).argmax()), tuple(with_text))


def draw_sheet(videos: Mapping[str, Path], target: Path) -> None:
    """A PNG of the text's surroundings: five frames as rows, and below them one row of pixels over time."""
    shown = extent(videos["mask"])
    rows, columns = shown.box.slices
    chosen = {shown.frames[i] for i in np.linspace(0, len(shown.frames) - 1, SHEET_ROWS).round().astype(int)}
    sheet_rows: list[list[UInt8]] = []
    slices: dict[str, list[UInt8]] = {"clean": [], "membrane": [], "model": []}
    for index, pictures in enumerate(_pictures({name: videos[name] for name in ("source", *slices)})):
        for name, strip in slices.items():
            strip.append(pictures[name][shown.row_px, columns].copy())
        if index in chosen:
            crops = {name: picture[rows, columns] for name, picture in pictures.items()}
            errors = [_error(crops[fill], crops["clean"]) for fill in ("membrane", "model")]
            sheet_rows.append([*crops.values(), *errors])
    strips = [np.stack(strip) for strip in slices.values()]
    blank = np.zeros_like(strips[0])
    sheet_rows.append([blank, *strips, blank, blank])
    titles = ("source", "clean", "membrane", "model", f"membrane, error x{ERROR_GAIN}", f"model, error x{ERROR_GAIN}")
    scale = -(-LEAST_CROP_PX // shown.box.width_px)
    target.parent.mkdir(parents=True, exist_ok=True)
    _page(titles, sheet_rows, scale).save(target)


def _error(picture: UInt8, clean: UInt8) -> UInt8:
    difference = ERROR_GAIN * np.abs(picture.astype(np.int32) - clean)
    shown: UInt8 = np.minimum(difference, 255).astype(np.uint8)
    return shown


def _page(titles: tuple[str, ...], rows: list[list[UInt8]], scale: int) -> Image.Image:
    """Pictures uint8 [h, w, 3] in rows under their titles, every pixel `scale` times as large."""
    step_x_px = scale * rows[0][0].shape[1] + SHEET_GAP_PX
    heights_px = [scale * row[0].shape[0] + SHEET_GAP_PX for row in rows]
    page = Image.new("RGB", (len(titles) * step_x_px, LABEL_PX + sum(heights_px)), "white")
    for column, title in enumerate(titles):
        ImageDraw.Draw(page).text((column * step_x_px, 0), title, fill="black", font_size=FONT_PX)
        top_px = LABEL_PX
        for row, height_px in zip(rows, heights_px, strict=True):
            enlarged = row[column].repeat(scale, axis=0).repeat(scale, axis=1)
            page.paste(Image.fromarray(enlarged), (column * step_x_px, top_px))
            top_px += height_px
    return page


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
        print(f"nothing measured: {bundle.name} holds the occlusion prior only; name a bundle with --bundle")
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
