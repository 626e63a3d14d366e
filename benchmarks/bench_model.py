"""The model's fill with random weights, 8 blocks of width 256: speed of the whole job, its stages, its peak memory.

`python -m benchmarks.bench_model [--seconds 4]`. What the fill looks like says nothing, what it costs does: the real
weights of this size will cost the same. The bundle is exported once and kept in .cache/benchmarks.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

from benchmarks.clips import HOME, clip
from benchmarks.environment import ROOT
from benchmarks.measure import Finished, run_python
from benchmarks.peaks import coding_fps, matmul_gflop_per_s
from benchmarks.random_weights import PROMPT_TOKENS, SMALL_DIT, SMALL_VAE, write_random_weights
from benchmarks.report import Row, finish
from clear_rt.config import WriteConfig
from clear_rt.export.bundle import export
from clear_rt.export.config import ExportConfig
from clear_rt.models.dit_config import DitConfig

WIDTH_PX, HEIGHT_PX = 640, 360
WINDOW_LATENTS, OVERLAP_LATENTS = 9, 2
PATCH_PX = 16
LIMIT_MB = 3000.0
_REMOVE = """
import clear_rt
from clear_rt.config import CompositeConfig, RunConfig
from pathlib import Path
source, target, bundle, engine = sys.argv[1:]
config = RunConfig(bundle=Path(bundle), engine=engine, composite=CompositeConfig(fill="model"))
result = clear_rt.remove(source, target, config).as_dict()
"""


def bundle() -> Path:
    """The bundle of random weights, exported where no earlier run of this code has left it."""
    causes = b"".join(path.read_bytes() for path in sorted([*ROOT.glob("export/*.py"), *ROOT.glob("clear_rt/models/*")])
                      if path.is_file())  # fmt: skip
    target = HOME / f"random-8x256-{hashlib.sha256(causes).hexdigest()[:8]}"
    if not target.exists():
        config = ExportConfig(engines=("onnx", "cuda"), window_latents=WINDOW_LATENTS, overlap_latents=OVERLAP_LATENTS)
        with tempfile.TemporaryDirectory() as weights:
            write_random_weights(Path(weights), SMALL_DIT, SMALL_VAE)
            export(Path(weights), target, config)
    return target


def step_gflop(dit: DitConfig, tokens: int) -> float:
    """Multiplications and additions of one denoising step of one window (reference.md 10), in 1e9."""
    text_keys = PROMPT_TOKENS + 1
    linears = 2 * tokens * (6 * dit.width**2 + 2 * dit.width * dit.ffn_width)
    attention = 4 * tokens * (tokens + text_keys) * dit.width
    return dit.layers * (linears + attention) / 1e9


def window_tokens(box: dict[str, int]) -> int:
    """Tokens of a whole window over a region."""
    return WINDOW_LATENTS * -(-box["width_px"] // PATCH_PX) * -(-box["height_px"] // PATCH_PX)


def rows(engine: str, video: Path, done: Finished) -> list[Row]:
    report = done.result
    stages = report["stage_seconds"]
    case = f"{WIDTH_PX}x{HEIGHT_PX} text, {engine}"
    box = report["runs"][0]["box"]
    gflop = report["windows"] * report["steps"] * step_gflop(SMALL_DIT, window_tokens(box))
    detail = {"frames": report["frames"], "windows": report["windows"], "steps": report["steps"], "box": box,
              "stage_seconds": stages}  # fmt: skip
    return [
        Row(case=case, metric="remove, model", value=report["fps"], unit="fps",
            bound=coding_fps(video, WriteConfig(), decodes=3, encodes=1), bound_name="coding alone", detail=detail),
        Row(case=case, metric="denoise", value=gflop / stages["denoise"], unit="GFLOP/s",
            bound=matmul_gflop_per_s(), bound_name="matrix product"),
        Row(case=case, metric="peak memory", value=done.peak_bytes / 1e6, unit="MB",
            bound=LIMIT_MB, bound_name="limit"),
    ]  # fmt: skip


def print_stages(row: Row) -> None:
    frames = row.detail["frames"]
    print(f"{row.case}: {row.detail['windows']} windows, region {row.detail['box']}")
    for stage, seconds in sorted(row.detail["stage_seconds"].items(), key=lambda item: -item[1]):
        print(f"  {stage:<16} {1000 * seconds / frames:8.2f} ms/frame")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="length of the clip")
    parser.add_argument("--engine", action="append", choices=("onnx", "cuda"), help="onnx if left out")
    options = parser.parse_args()
    video, folder = clip(WIDTH_PX, HEIGHT_PX, options.seconds, text=True), bundle()
    found: list[Row] = []
    for engine in options.engine or ["onnx"]:
        with tempfile.TemporaryDirectory() as scratch:
            done = run_python(_REMOVE, [str(video), str(Path(scratch) / "out.mp4"), str(folder), engine])
        found += rows(engine, video, done)
        print_stages(found[-3])
    finish("model", found)


if __name__ == "__main__":
    main()
