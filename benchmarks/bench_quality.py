"""Quality of the main job on clips training never saw, one per script, beside the same fill under the true matte.

`python -m benchmarks.bench_quality [--frames 81] [--only zh] [--look outline]`. Text is burned in, with an outline and
in a look drawn at random from the seed, compressed at the default --crf, and removed with --lossless; figures are those
of `clear-rt eval`. The clips come from package registries (`training/materials.py`); where those cannot be reached
nothing is measured.
"""

from __future__ import annotations

import argparse
import subprocess
from contextlib import closing
from dataclasses import asdict
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

import clear_rt
from benchmarks.environment import ROOT
from benchmarks.report import Row, finish
from clear_rt import frames
from clear_rt.burn.config import BurnConfig, ScriptName, StyleName
from clear_rt.burn.video import burn
from clear_rt.composite import paste
from clear_rt.config import CompositeConfig, WriteConfig
from clear_rt.metrics.evaluate import evaluate
from clear_rt.metrics.psnr import PsnrSum
from clear_rt.shapes import Size, whole
from training.materials import fetch_clips

HOME = ROOT / ".cache" / "quality"
# Script, clip, seed of lines and look. Seeds were fixed before the first measurement.
CASES: tuple[tuple[ScriptName, str, int], ...] = (
    ("zh", "goldengate.mp4", 1),
    ("en", "bikes.mp4", 2),
    ("ja", "cityCC0.mpg", 3),
    ("ko", "bigbuckbunny.mp4", 4),
    ("ru", "flowers.mp4", 5),
    ("ar", "ocean.mp4", 6),
)
LOOKS: tuple[StyleName, ...] = ("outline", "random")
LOSSLESS = WriteConfig(lossless=True)
EVERY_FRAMES = 5


def trimmed(clip: Path, count: int) -> Path:
    """The first `count` frames of a clip, without loss."""
    path = HOME / f"{clip.stem}-{count}.mp4"
    if not path.exists():
        _write(clip, path, LOSSLESS, count)
    return path


def _write(clip: Path, target: Path, config: WriteConfig, count: int | None = None) -> None:
    """The first `count` frames of a clip, or all of them, as a file of their own."""
    info = frames.probe(clip)
    with closing(frames.read(info)) as pictures, frames.Writer(info, target, config) as writer:
        for frame in islice(pictures, count):
            writer.write(frame)


@cache
def text_in_coded(clean: Path) -> float:
    """Share of frames in which text is found once the clean clip has been coded as sources are: leaves, mostly."""
    coded = clean.with_name(f"{clean.stem}-coded.mp4")
    _write(clean, coded, WriteConfig())
    return evaluate(coded, clean, every_frames=EVERY_FRAMES).result.frames_with_text or 0.0


def _with_true_matte(source: Path, clean: Path, mask: Path) -> float | None:
    """PSNR inside the mask when the matte is the mask itself: what a perfect prior would reach with this fill."""
    info = frames.probe(clean)
    box, size = whole(Size(info.width_px, info.height_px)), (info.height_px, info.width_px)
    total = PsnrSum()
    for text, truth, drawn in zip(frames.read(source), frames.read(clean), frames.read(mask), strict=True):
        inside = drawn.planes[0].samples > 0
        filled = paste(text, box, (255 * inside).astype(np.uint8), CompositeConfig())
        total.add(filled.rgb(*size), truth.rgb(*size), inside)
    return total.result().inside_db


def measure(script: ScriptName, clip: Path, seed: int, look: StyleName, count: int) -> list[Row]:
    """Burn, remove, compare; then the clean clip, which must come out as it went in."""
    clean = trimmed(clip, count)
    source, mask, result = (
        HOME / f"{clip.stem}-{script}-{look}-{name}" for name in ("text.mp4", "mask.mkv", "result.mp4")
    )
    style = burn(clean, source, BurnConfig(script=script, seed=seed, style=look), mask=mask).style
    report = clear_rt.remove(source, result, clear_rt.RunConfig(write=LOSSLESS))
    found = evaluate(result, clean, source, mask, every_frames=EVERY_FRAMES)
    untouched = clear_rt.remove(clean, HOME / f"{clip.stem}-untouched.mp4")
    if found.source is None or found.result.psnr.inside_db is None or found.result.psnr.frame_db is None:
        raise RuntimeError(f"{source} carries no text: choose another seed")
    detail = found.as_dict() | {
        "style": asdict(style),
        "frames_changed": report.frames_changed,
        "runs": len(report.runs),
        "clean_clip_copied": untouched.video_copied,
        "clean_clip_frames_changed": untouched.frames_changed,
    }
    case = f"{script} {clip.stem} {look}"
    inside = Row(
        case=case,
        metric="PSNR inside mask",
        value=found.result.psnr.inside_db,
        unit="dB",
        bound=_with_true_matte(source, clean, mask),
        bound_name="true matte",
        detail=detail,
    )
    before = found.source.psnr
    frame = Row(
        case=case,
        metric="PSNR frame",
        value=found.result.psnr.frame_db,
        unit="dB",
        bound=None,
        bound_name=f"untouched: {before.frame_db:.1f} frame, {before.inside_db:.1f} inside",
    )
    coded = f"coded as the source {100 * text_in_coded(clean):.0f} %, copied {untouched.video_copied}"
    text = share_row(case, "frames with text", found.result.frames_with_text, found.clean_frames_with_text, coded)
    after, clean_one = found.result.frames_with_text_on_mask, found.clean_frames_with_text_on_mask
    untouched_one = f"untouched {100 * (found.source.frames_with_text_on_mask or 0.0):.0f} %"
    in_place = share_row(case, "text in its place", after, clean_one, untouched_one)
    return [inside, frame, text, in_place]


def share_row(case: str, metric: str, result: float | None, clean: float | None, note: str) -> Row:
    """A share of frames in percent, beside that of the clean clip."""
    bound_name = f"clean clip: {100 * (clean or 0.0):.0f} %, {note}"
    return Row(case=case, metric=metric, value=100 * (result or 0.0), unit="%", bound=None, bound_name=bound_name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--only", choices=[script for script, _, _ in CASES])
    parser.add_argument("--look", choices=LOOKS)
    options = parser.parse_args()
    looks = [look for look in LOOKS if options.look in (None, look)]
    cases = [case for case in CASES if options.only in (None, case[0])]
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        clips = fetch_clips(tuple(clip for _, clip, _ in cases))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"nothing measured: the clips cannot be fetched here ({error})")
        finish("quality", [])
        return
    rows = [measure(script, clips[clip], seed, look, options.frames) for look in looks for script, clip, seed in cases]
    finish("quality", [row for case in rows for row in case])


if __name__ == "__main__":
    main()
