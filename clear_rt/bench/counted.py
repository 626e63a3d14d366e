"""The arithmetic of every stage of the networks at one size, and how close a measured time comes to the ceilings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clear_rt.bench.network import CONTROL, DECODE, ENCODE, STEP
from clear_rt.bench.work import Work
from clear_rt.bench.work_dit import control_work, step_parts, step_work, tokens_of
from clear_rt.bench.work_vae import decode_work, encode_work

if TYPE_CHECKING:
    from clear_rt.bench.ceilings import Ceilings
    from clear_rt.bench.plan import Plan
    from clear_rt.bench.sizes import Sizes
    from clear_rt.generator import GeneratorSpec

_VALUE_BYTES = {"fp32": 4}
_NARROW_BYTES = 2


def tokens(plan: Plan, spec: GeneratorSpec) -> int:
    """Tokens of a window."""
    rows, columns = plan.size.height_px // spec.latent_px, plan.size.width_px // spec.latent_px
    return tokens_of(plan.window.latents, rows, columns)


def stage_works(plan: Plan, spec: GeneratorSpec, sizes: Sizes) -> dict[str, Work]:
    """Of one call of each stage in the middle of a run."""
    count, (width, height) = tokens(plan, spec), plan.size
    return {
        ENCODE: encode_work(sizes.vae, height, width),
        CONTROL: control_work(sizes.dit, count),
        STEP: step_work(sizes.dit, count),
        DECODE: decode_work(sizes.vae, height, width),
    }


def step_shares(plan: Plan, spec: GeneratorSpec, sizes: Sizes) -> dict[str, int]:
    """FLOP of one step by part."""
    return {name: part.flop for name, part in step_parts(sizes.dit, tokens(plan, spec)).items()}


def achieved(work: Work, seconds: float, ceilings: Ceilings, precision: str, *, is_vae: bool) -> dict[str, Any]:
    """Rates of a call that took so long, beside the ceilings. The VAE of an fp8 bundle computes in bf16."""
    used = "bf16" if is_vae and precision == "fp8" else precision
    moved_bytes = work.values * _VALUE_BYTES.get(used, _NARROW_BYTES)
    matrix_tflops, tflops, gb_per_s = ceilings.matrix(used), work.flop / seconds / 1e12, moved_bytes / seconds / 1e9
    return {
        "flop": work.flop,
        "bytes": moved_bytes,
        "tflop_per_s": tflops,
        "gb_per_s": gb_per_s,
        "share_of_matrix": None if matrix_tflops is None else tflops / matrix_tflops,
        "share_of_copy": gb_per_s / ceilings.copy_gb_per_s,
    }
