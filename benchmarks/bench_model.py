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
from benchmarks.measure import run_python
from benchmarks.peaks import coding_fps, matmul_gflop_per_s
from benchmarks.random_weights import PROMPT_TOKENS, SMALL_DIT, SMALL_VAE, write_random_weights
from benchmarks.report import Row, finish, print_stages
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
from clear_rt.config import CompositeConfig, RegionConfig, RunConfig
from pathlib import Path
source, target, bundle, engine, region = sys.argv[1:]
config = RunConfig(
    bundle=Path(bundle), engine=engine, composite=CompositeConfig(fill="model"), region=RegionConfig(mode=region)
)
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


def measure(engine: str, region: str, video: Path) -> list[Row]:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [str(video), str(Path(scratch) / "out.mp4"), str(bundle()), engine, region]
        done = run_python(_REMOVE, arguments)
    report = done.result
    box = report["runs"][0]["box"]
    gflop = report["windows"] * report["steps"] * step_gflop(SMALL_DIT, window_tokens(box))
    case = f"{WIDTH_PX}x{HEIGHT_PX} {region}, {engine}"
    detail = {name: report[name] for name in ("frames", "windows", "steps", "stage_seconds")} | {"box": box}
    coding = coding_fps(video, WriteConfig(), decodes=3, encodes=1)
    speed = gflop / report["stage_seconds"]["denoise"]
    figures = (
        ("remove, model", report["fps"], "fps", coding, "coding alone"),
        ("denoise", speed, "GFLOP/s", matmul_gflop_per_s(), "matrix product"),
        ("peak memory", done.peak_bytes / 1e6, "MB", LIMIT_MB, "limit"),
    )
    return [
        Row(case=case, metric=metric, value=value, unit=unit, bound=bound, bound_name=name, detail=detail)
        for metric, value, unit, bound, name in figures
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="length of the clip")
    parser.add_argument("--engine", action="append", choices=("onnx", "cuda"), help="onnx if left out")
    options = parser.parse_args()
    video = clip(WIDTH_PX, HEIGHT_PX, options.seconds, text=True)
    found: list[Row] = []
    for engine in options.engine or ["onnx"]:
        for region in ("auto", "full"):
            found += measure(engine, region, video)
            print_stages(found[-1], f"{found[-1].detail['windows']} windows, region {found[-1].detail['box']}")
    finish("model", found)


if __name__ == "__main__":
    main()
