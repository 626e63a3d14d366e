"""What FP8 costs, linear by linear: the error of the velocity when that one alone is in FP8, and when the policy's are.

`python -m benchmarks.fp8_sensitivity [--weights DIR [--lora FILE] --clip VIDEO]`. Without weights: the embedded
clear-tiny, which is trained, and 30 blocks of width 384 of random weights. The tables go to docs/FP8.md.

Errors are rms(difference) / rms(fp32) of the velocity, the greater of the first and the last noise level, on a window
over the captions of samples/ that was denoised in five steps, as at run time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.embedded_weights import embedded_dit
from benchmarks.environment import ROOT
from benchmarks.random_weights import PROMPT_TOKENS, SMALL_VAE, write_random_weights
from benchmarks.report import Row, finish
from clear_rt.bundle import Bundle, open_bundle
from clear_rt.export.bake import bake
from clear_rt.export.calibration import StepCodec, Window, generator_spec, windows
from clear_rt.export.config import ExportConfig
from clear_rt.export.merge import merge_adapters
from clear_rt.export.prompt import prompt_for
from clear_rt.export.quantize import calibrate, in_fp8, sharing
from clear_rt.export.steps import step_tables
from clear_rt.generator import GeneratorSpec
from clear_rt.latents import Encoder
from clear_rt.models.baked import BakedDit
from clear_rt.models.checkpoint import open_checkpoint
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.fp8 import replace_modules
from clear_rt.models.fp8_policy import KINDS, Fp8Policy, block_linears, quantized_linears
from clear_rt.models.vae_step import EncoderStep
from clear_rt.models.weights import load_dit, load_vae
from clear_rt.models.weights_folder import find_weights
from clear_rt.runtime.onnx import OnnxEngine

DOCS = ROOT / "docs" / "FP8.md"
CLIP = ROOT / "samples" / "city-subtitled.mp4"
STEPS = 5
# The depth of Wan 1.3B at a width, a window and a region that two cores manage.
DEEP = DitConfig(width=384, heads=3, layers=30, ffn_width=2240, text_width=256, text_tokens=64, image_width=64)
DEEP_EXPORT = ExportConfig(steps=STEPS, step_counts=(STEPS,), window_latents=3, overlap_latents=1, max_pixels=64 * 256)
ALL = "all"


@dataclass(frozen=True, slots=True)
class Case:
    """A model, how it is run, and what stands for its encoder."""

    name: str
    dit: BakedDit
    spec: GeneratorSpec
    codec: Encoder


def trained(bundle: Bundle) -> Case:
    assert bundle.generator is not None
    spec = replace(bundle.generator, default_steps=STEPS)
    return Case(f"{bundle.name}, trained", embedded_dit(spec), spec, OnnxEngine(bundle))


def random(bundle: Bundle, config: DitConfig = DEEP) -> Case:
    with tempfile.TemporaryDirectory() as scratch:
        write_random_weights(Path(scratch), config, SMALL_VAE)
        dit = load_dit(find_weights(Path(scratch)).dit, config)
    prompt = torch.randn(PROMPT_TOKENS, config.text_width, generator=torch.Generator().manual_seed(0))
    baked = bake(dit, prompt, step_tables(DEEP_EXPORT).timesteps)
    name = f"{config.layers} blocks of width {config.width}, random"
    return Case(name, baked, generator_spec(DEEP_EXPORT, SMALL_VAE), OnnxEngine(bundle))


def given(weights: Path, lora: Path | None) -> Case:
    """Real weights, on a GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found, config = find_weights(weights), ExportConfig(steps=STEPS, step_counts=(STEPS,))
    dit = load_dit(found.dit, found.dit_config)
    if lora is not None:
        merge_adapters(dit, [(open_checkpoint(lora), 1.0)])
    baked = bake(dit, prompt_for(found, None).embedding, step_tables(config).timesteps)
    codec = StepCodec(EncoderStep.folded(load_vae(found.vae, found.vae_config)).to(device))
    return Case(weights.resolve().name, baked.to(device), generator_spec(config, found.vae_config), codec)


def measure(case: Case, prior: Bundle, clip: Path = CLIP) -> list[Row]:
    """A row for every linear, every block, every kind and all of them, and for the policy's."""
    seen: list[Window] = []

    def run(model: BakedDit) -> None:
        seen.extend(windows(model, [clip], case.spec, case.codec, prior))

    names = block_linears(case.dit.config)
    fp8 = in_fp8(case.dit, calibrate(case.dit, run), names)
    levels = [seen[0], seen[-1]]
    exact = [answered(case.dit, window) for window in levels]
    chosen = quantized_linears(case.dit.config, Fp8Policy())
    rows = []
    for block, kind, members in _sets(names, chosen):
        model = sharing(case.dit)
        replace_modules(model, {name: fp8.get_submodule(name) for name in members})
        errors = [relative(answered(model, w), expected) for w, expected in zip(levels, exact, strict=True)]
        detail = {"block": block, "kind": kind, "linears": len(members), "errors": errors}
        rows.append(
            Row(
                case=case.name,
                metric=f"{block} {kind}",
                value=100 * max(errors),
                unit="%",
                bound=None,
                bound_name=f"{levels[0].control_tokens.shape[1]} tokens",
                detail=detail,
            )
        )
    return rows


def _sets(names: tuple[str, ...], chosen: tuple[str, ...]) -> Iterator[tuple[str, str, list[str]]]:
    """Which linears are in FP8 together: block, kind, names."""
    blocks = list(dict.fromkeys(name.split(".")[1] for name in names))
    for block in blocks:
        for kind in KINDS:
            yield block, kind, [f"blocks.{block}.{kind}"]
        yield block, ALL, [f"blocks.{block}.{kind}" for kind in KINDS]
    for kind in KINDS:
        yield ALL, kind, [f"blocks.{block}.{kind}" for block in blocks]
    yield ALL, ALL, list(names)
    yield "policy", ALL, list(chosen)


@torch.inference_mode()
def answered(dit: BakedDit, window: Window) -> torch.Tensor:
    velocity: torch.Tensor = dit(*window)
    return velocity


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def table(rows: Iterable[Row]) -> str:
    """Percent, a line for each block, a column for each kind."""
    found = {(row.detail["block"], row.detail["kind"]): row.value for row in rows}
    columns = (*KINDS, ALL)
    lines = [f"| block | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for block in dict.fromkeys(block for block, _ in found):
        cells = (f"{found[block, kind]:.3f}" if (block, kind) in found else "" for kind in columns)
        lines.append(f"| {block} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_section(path: Path, title: str, body: str) -> None:
    """Puts `body` in the place of the section of this title, or at the end."""
    heading = f"## Measured: {title}\n"
    before, found, after = path.read_text(encoding="utf-8").partition(heading)
    _, following, rest = after.partition("\n## ") if found else ("", "", "")
    path.write_text(f"{before.rstrip()}\n\n{heading}\n{body}\n{following}{rest}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="a folder of weights, as clear-rt export takes it")
    parser.add_argument("--lora", type=Path)
    parser.add_argument("--clip", type=Path, default=CLIP)
    options = parser.parse_args()
    prior = open_bundle()
    cases = [given(options.weights, options.lora)] if options.weights else [trained(prior), random(prior)]
    rows: list[Row] = []
    for case in cases:
        found = measure(case, prior, options.clip)
        write_section(DOCS, case.name, table(found))
        rows += found
    finish("fp8", rows)


if __name__ == "__main__":
    main()
