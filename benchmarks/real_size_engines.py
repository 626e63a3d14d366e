"""TensorRT engines at the real size, from random weights, on any machine: time, memory, size, attention left as nodes.

`python -m benchmarks.real_size_engines [--blocks 30] [--precision bf16] [--chip 89] [--profile 720p-band192] [--vae]`.
Needs TensorRT-RTX, which builds without a GPU. An engine that was built proves that its graph is parsed and compiled,
not that it is fast.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.report import Row, finish
from clear_rt.export.config import Precision
from clear_rt.export.dialect import tensorrt
from clear_rt.export.plan_order import Axes, PlanReport
from clear_rt.export.plans import HALVES, Graphs, PlanConfig, PlanSet, window_axes
from clear_rt.export.profiles import read_profiles
from clear_rt.export.quantize import quantize
from clear_rt.export.scales import Scales
from clear_rt.export.to_onnx import decoder_graphs, encoder_graphs, step_graph
from clear_rt.models.baked import BakedConfig, BakedDit
from clear_rt.models.dit_config import WAN_FUN_CONTROL
from clear_rt.models.fp8_policy import Fp8Policy, block_linears
from clear_rt.models.narrowed import narrowed
from clear_rt.models.vae_config import WAN_VAE
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.trt_library import required_library

PROMPT_KEYS, TIMESTEPS, WINDOW_LATENTS = 39, 22, 21
# Of one block every one is an edge, which FP8 leaves alone: here all of it is quantised.
_EVERYWHERE = Fp8Policy(edge_share=0.0)


def transformer(blocks: int, precision: Precision, *, occlusion: bool) -> BakedDit:
    """Random weights in halves; with `occlusion` keys are weighed in the second half of the blocks."""
    sizes = WAN_FUN_CONTROL
    config = BakedConfig(
        width=sizes.width,
        heads=sizes.heads,
        layers=blocks,
        ffn_width=sizes.ffn_width,
        occlusion=occlusion,
        text_keys=PROMPT_KEYS,
        timesteps=TIMESTEPS,
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(HALVES[precision])
    try:
        dit = BakedDit(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)
    for name, parameter in dit.named_parameters():
        if name.endswith(("cross_attn.bias", "beta")):
            parameter.data = torch.full_like(parameter, 0.5, dtype=torch.float32)
    if precision == "fp8":
        dit = quantize(dit, Scales(dict.fromkeys(block_linears(config), 8.0)), _EVERYWHERE)
    return dit.place_turns(dit.time)


def vae_graphs(precision: Precision, profile: str) -> Iterator[Graphs]:
    torch.manual_seed(0)
    halves, axes = HALVES[precision], axes_of(profile)
    encoder = narrowed(EncoderStep(WAN_VAE).eval().requires_grad_(False), halves)
    yield encoder_graphs(encoder, tensorrt(halves), axes)
    decoder = narrowed(DecoderStep(WAN_VAE).eval().requires_grad_(False), halves)
    yield decoder_graphs(decoder, tensorrt(halves), axes)


def axes_of(profile: str) -> Axes:
    """The sizes of a window that graphs are traced for, as `build-engine` does for a single profile."""
    return window_axes(read_profiles([profile]).sizes[0], WINDOW_LATENTS)


def built(graphs: Iterator[Graphs], profile: str, capability: int, folder: Path) -> dict[str, PlanReport]:
    """The engines of graphs for windows of 81 frames of one profile, in `folder`."""
    plans = PlanConfig(library=required_library(), capability=capability, is_here=False)
    engines = PlanSet(folder, read_profiles([profile]).sizes, WINDOW_LATENTS, plans)
    for some in graphs:
        engines.add(some)
    return engines.reports


def rows(reports: dict[str, PlanReport], case: str) -> list[Row]:
    found = []
    for role, report in reports.items():
        for metric, value, unit in (
            ("build time", report.seconds, "s"),
            ("build memory", report.peak_bytes / 1e9, "GB"),
            ("engine", report.plan_bytes / 1e6, "MB"),
            ("activations", report.activation_bytes / 1e6, "MB"),
            ("attention nodes", report.attentions, ""),
        ):
            found.append(Row(case=f"{role}, {case}", metric=metric, value=value, unit=unit, bound=None, bound_name="-"))
    return found


def summary(reports: dict[str, PlanReport], case: str) -> list[str]:
    """One line for each engine."""
    return [
        f"{role:<14} {case}: built in {report.seconds:.1f} s with {report.peak_bytes / 1e9:.2f} GB; engine "
        f"{report.plan_bytes / 1e6:.2f} MB, activations {report.activation_bytes / 1e6:.2f} MB, "
        f"{report.attentions} attention nodes"
        for role, report in reports.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--precision", choices=("bf16", "fp16", "fp8"), default="bf16")
    parser.add_argument("--chip", type=int, default=89)
    parser.add_argument("--profile", default="720p-band192")
    parser.add_argument("--occlusion", action="store_true", help="weigh keys in the second half of the blocks")
    parser.add_argument("--vae", action="store_true", help="the VAE's steps instead of the transformer")
    options = parser.parse_args()
    case = f"{options.profile}, {options.precision}, sm_{options.chip}"
    with tempfile.TemporaryDirectory() as scratch:
        if options.vae:
            graphs = vae_graphs(options.precision, options.profile)
        else:
            dit = transformer(options.blocks, options.precision, occlusion=options.occlusion)
            step = step_graph(dit, tensorrt(HALVES[options.precision]), axes_of(options.profile))
            graphs = iter([{"step": step}])
            case = f"{options.blocks} blocks, {case}"
        finish("engines", rows(built(graphs, options.profile, options.chip, Path(scratch)), case))


if __name__ == "__main__":
    main()
