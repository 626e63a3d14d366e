"""How far FP8 attention is from attention in fp32, in every block of a network, with and without the keys' mean.

`python -m benchmarks.fp8_attention_error [--bundle DIR]`. On a CPU, the kernels' arithmetic in torch. DIR is a bundle
for the engine cuda; without it, 6 blocks of width 384 with heads of 128 and random weights. A window over the captions
of samples/ is denoised at the first noise level and at the last.

Errors are rms(difference) / rms(fp32), the greater of the two levels, beside that on normal numbers. "Of the deviation"
has the mean over tokens taken from both first: where values have a large mean the others are small whatever FP8 does.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.environment import ROOT
from benchmarks.random_weights import SMALL_VAE, write_random_weights
from benchmarks.report import Row, finish
from clear_rt import frames
from clear_rt.bundle import GeneratorSpec, open_bundle
from clear_rt.export.bundle import export
from clear_rt.export.config import ExportConfig
from clear_rt.kernels.occlusion_attention_fp8 import fp8_algorithm_ref
from clear_rt.latents import Floats, encode
from clear_rt.models.attention import attention
from clear_rt.models.dit_config import DitConfig
from clear_rt.runtime.torch import TorchEngine
from clear_rt.schedule import frames_of

# tests/kernels/test_occlusion_attention_fp8.py
NORMAL = 0.0532
# Two lines of text at the foot of 640 x 360.
WIDTH_PX, HEIGHT_PX, BAND_PX = 640, 360, 128
MOST_LATENTS = 5
DIT = DitConfig(
    width=384, heads=3, layers=6, ffn_width=1536, text_width=256, text_tokens=64, image_width=64, occlusion=True
)
# As `qk_norm_rope_fp8.key_center` does.
SAMPLE_STEP = 61
AS_THEY_ARE, LESS_MEAN, DEVIATION = "keys as they are", "keys less mean", "of the deviation"


class Compared:
    """Attention in fp32 that notes, for every self-attention, how far FP8 is from it; `answers_fp8` passes FP8 on."""

    def __init__(self) -> None:
        self.errors: list[dict[str, float]] = []
        self.answers_fp8 = False

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
        exact = attention(q, k, v, key_bias)
        if k.shape[1] != q.shape[1]:
            return exact
        found = fp8_algorithm_ref(q, k, v, key_bias, k[:, ::SAMPLE_STEP].mean(1))
        if self.answers_fp8:
            return found
        common = exact.mean(1, keepdim=True)
        self.errors.append(
            {
                AS_THEY_ARE: relative(fp8_algorithm_ref(q, k, v, key_bias, None), exact),
                LESS_MEAN: relative(found, exact),
                DEVIATION: relative(found - common, exact - common),
            }
        )
        return exact


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def control_latents(engine: TorchEngine, spec: GeneratorSpec) -> Floats:
    """A window of what the network is shown, [C, L, h, w]: the subtitled video, the clean one in place of a draft."""
    count = frames_of(min(MOST_LATENTS, spec.window_latents), spec.latent_frames)
    video = ROOT / "samples" / ("city-clean.mp4" if spec.draft else "city-subtitled.mp4")
    pictures = (frame.rgb(HEIGHT_PX, WIDTH_PX)[-BAND_PX:] for frame in islice(frames.read(video), count))
    latents = encode(
        engine,
        pictures,
        count,
        latent_channels=spec.latent_channels,
        latent_px=spec.latent_px,
        latent_frames=spec.latent_frames,
    )
    return np.stack(list(latents), 1)


def measure(folder: Path) -> list[Row]:
    bundle = open_bundle(folder)
    spec, engine, compared = bundle.generator, TorchEngine(bundle), Compared()
    assert spec is not None
    engine._dit.attend = compared
    clean = control_latents(engine, spec)
    control = engine.control(clean)
    noise = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    table = spec.step_tables[spec.default_steps]
    by_level, velocity = [], []
    for step in (0, spec.default_steps - 1):
        sigma = np.float32(table.sigmas[step])
        latents = sigma * noise + (1 - sigma) * clean
        compared.errors, compared.answers_fp8 = [], False
        exact = engine.velocity(latents, control, table.rows[step])
        by_level.append(compared.errors)
        compared.answers_fp8 = True
        found = engine.velocity(latents, control, table.rows[step])
        velocity.append(relative(torch.from_numpy(found), torch.from_numpy(exact)))
    detail = {"tokens": clean[0].size // 4, "sigmas": [table.sigmas[0], table.sigmas[spec.default_steps - 1]]}
    rows = [
        row(f"block {block}", name, [level[name] for level in levels], detail)
        for block, levels in enumerate(zip(*by_level, strict=True))
        for name in (AS_THEY_ARE, LESS_MEAN, DEVIATION)
    ]
    return [*rows, row("velocity", LESS_MEAN, velocity, detail)]


def row(case: str, metric: str, errors: list[float], detail: dict[str, object]) -> Row:
    return Row(
        case=case,
        metric=metric,
        value=100 * max(errors),
        unit="%",
        bound=100 * NORMAL,
        bound_name="normal numbers",
        detail=detail | {"errors": errors},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="for the engine cuda; random weights if left out")
    options = parser.parse_args()
    if options.bundle:
        found = measure(options.bundle)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            weights, bundle = Path(scratch) / "weights", Path(scratch) / "bundle"
            write_random_weights(weights, DIT, SMALL_VAE)
            export(weights, bundle, ExportConfig(engines=("cuda",)))
            found = measure(bundle)
    finish("fp8", found)


if __name__ == "__main__":
    main()
