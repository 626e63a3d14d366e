"""TensorRT's engines on the GPU of this machine: whether they load, latency, share of the ceiling, distance from torch.

`python -m benchmarks.bench_engines [--profile 640x192] [--precision bf16]`. Builds a bundle of random weights, 8 blocks
of width 256, for this GPU. Without a GPU or without TensorRT it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.random_weights import SMALL_DIT, SMALL_VAE, write_random_weights
from benchmarks.report import Row, finish
from clear_rt.errors import ClearError
from clear_rt.runtime.device import first_gpu
from clear_rt.runtime.trt_library import library_found

WINDOW_LATENTS, OVERLAP_LATENTS = 21, 4
RUNS, WARM_UP = 50, 5
PATCH_VALUES = 4


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="640x192")
    parser.add_argument("--precision", choices=("bf16", "fp16"), default="bf16")
    options = parser.parse_args(arguments)
    gpu, library = first_gpu(), library_found()
    if gpu is None or library is None:
        print(f"nothing measured: {'no NVIDIA GPU here' if gpu is None else 'neither TensorRT nor TensorRT-RTX here'}")
        finish("engines", [])
        return 0
    try:
        with tempfile.TemporaryDirectory() as scratch:
            rows = measured(Path(scratch), options.profile, options.precision)
    except (ClearError, ImportError) as error:
        # Whether the library takes this GPU at all is what is asked: its words are the answer.
        print(f"nothing measured: {library.title} on {gpu.name}, sm_{gpu.capability}: {error}")
        rows = []
    finish("engines", rows)
    return 0


def measured(folder: Path, profile: str, precision: str) -> list[Row]:
    """Raises ClearError where an engine cannot be built, loaded or run, or is too far from its network."""
    import torch

    from benchmarks.gpu_time import matmul_tflop_per_s
    from clear_rt.bundle import open_bundle
    from clear_rt.export.build import build_bundle
    from clear_rt.export.build_config import BuildConfig
    from clear_rt.export.config import ExportConfig
    from clear_rt.export.plan_runner import PlanRunner
    from clear_rt.export.profiles import read_profiles

    write_random_weights(folder / "weights", SMALL_DIT, SMALL_VAE)
    (size,) = read_profiles([profile]).sizes
    config = ExportConfig(
        engines=("trt", "cuda"),
        precision="fp16" if precision == "fp16" else "bf16",
        profiles=(size,),
        window_latents=WINDOW_LATENTS,
        overlap_latents=OVERLAP_LATENTS,
    )
    built = build_bundle(str(folder / "weights"), folder / "bundle", config, BuildConfig())
    print(f"verified: {built.manifest['verified']}")
    with PlanRunner(open_bundle(folder / "bundle"), size) as runner:
        shape = (1, SMALL_DIT.latent_channels, WINDOW_LATENTS, size.height_px // 8, size.width_px // 8)
        latents, row = torch.randn(shape, device="cuda"), torch.tensor(0, device="cuda")
        control = runner.control(latents[0].cpu().numpy())
        us = step_us(lambda: runner.step(latents, control, row))
    p50_us, p95_us = (float(np.percentile(us, share)) for share in (50, 95))
    rate = step_flop(latents[0, 0].numel() // PATCH_VALUES) / p50_us / 1e6
    case, ceiling = f"8 x 256, {profile}, {precision}", matmul_tflop_per_s(torch.bfloat16)
    return [
        Row(case=case, metric="step p50", value=p50_us, unit="us", bound=None, bound_name=f"p95 {p95_us:.0f} us"),
        Row(case=case, metric="step", value=rate, unit="TFLOP/s", bound=ceiling, bound_name="matrix product, bf16"),
    ]


def step_us(run: Callable[[], object]) -> list[float]:
    """Of every run by itself, by events around it."""
    import torch

    found = []
    for i in range(WARM_UP + RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        run()
        end.record()
        end.synchronize()
        if i >= WARM_UP:
            found.append(1000 * float(begin.elapsed_time(end)))
    return found


def step_flop(tokens: int) -> int:
    """Products and attention of a step of the small transformer; a multiplication and an addition each."""
    width, ffn = SMALL_DIT.width, SMALL_DIT.ffn_width
    linears = 2 * tokens * (6 * width * width + 2 * width * ffn)
    return SMALL_DIT.layers * (linears + 4 * tokens * tokens * width)


if __name__ == "__main__":
    raise SystemExit(main())
