"""Checks the cases of `bench_kernels`, times them and their rivals, and makes rows of what it finds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch

from benchmarks.gpu_time import Timed, copy_gb_per_s, matmul_tflop_per_s, time_gpu
from benchmarks.kernel_cases import Call, Ceiling, KernelCase, Rival, relative_error
from benchmarks.kernel_cases_attention import attention_cases
from benchmarks.kernel_cases_convolutions import convolution_cases
from benchmarks.kernel_cases_latents import latent_cases
from benchmarks.kernel_cases_pictures import picture_cases
from benchmarks.kernel_cases_tokens import token_cases
from benchmarks.report import Row
from clear_rt.kernels.chips import capability_of, has_fp8

# Of what a copy reaches, for kernels that move enough: 30 MB take an H100 10 us, of which launching is no small part.
MEMORY_TARGET = 0.8
MEMORY_TARGET_BYTES = 30_000_000
# From then on rivals of torch.compile, which take seconds each, are left out.
COMPILING_S = 220.0

Ceilings = Mapping[Ceiling, float]


class WrongResult(Exception):
    """A kernel or a rival is too far from fp64."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured of a case. `rivals` and `skipped`, with the reason, by name; errors are relative.

    `unquantized_error` is that against operands as they were before they were quantised.
    """

    case: KernelCase
    timed: Timed
    error: float
    unquantized_error: float | None
    rivals: Mapping[str, Timed]
    skipped: Mapping[str, str]

    @property
    def seconds(self) -> float:
        return self.timed.timing.median_s

    @property
    def gb_per_s(self) -> float:
        return self.case.bytes / self.seconds / 1e9

    @property
    def tflop_per_s(self) -> float:
        return self.case.flop / self.seconds / 1e12

    def speed_up(self, names: Sequence[str]) -> tuple[float, str] | None:
        """Over the fastest of these rivals, and which that is; None where none was measured."""
        ratios = [(self.rivals[name].timing.median_s / self.seconds, name) for name in names if name in self.rivals]
        return min(ratios, default=None)


def cases(device: torch.device, *, only: str | None = None, tiny: bool = False) -> list[KernelCase]:
    """All cases, or those of one op."""
    makers = (attention_cases, token_cases, latent_cases, convolution_cases, picture_cases)
    everything = chain.from_iterable(make(device, tiny=tiny) for make in makers)
    return [case for case in everything if only in (None, case.op)]


def tried(chosen: Sequence[KernelCase]) -> list[Row]:
    """Every case once, and its rivals that any machine has, uncompiled: their errors. Raises WrongResult."""
    torch.manual_seed(0)
    rows = []
    for case in chosen:
        rows.append(_error_row(case, "error", checked(case)))
        # By what they call, as that of torch.compile is another's, too.
        others = {rival.call: rival.name for rival in reversed(case.rivals) if rival.same and not rival.needs_gpu}
        for call, name in others.items():
            rows.append(_error_row(case, f"error, {name}", _checked_rival(case, name, call)))
    return rows


def measured(chosen: Sequence[KernelCase], *, quick: bool) -> list[Row]:
    """The ceilings' rows, then those of every case. Raises WrongResult."""
    begun = time.monotonic()
    ceilings = _ceilings()
    rows = list(_ceiling_rows(ceilings))
    for case in chosen:
        late = time.monotonic() - begun > COMPILING_S
        found = _found(case, "left out by --quick" if quick else "out of time" if late else None)
        print(f"{case.name}: {1e6 * found.seconds:.1f} us, relative error {found.error:.1e}", flush=True)
        for name, reason in found.skipped.items():
            print(f"  no figure for {name}: {reason}", flush=True)
        rows += rows_of(found, ceilings)
        torch.cuda.empty_cache()
    return rows


def _found(case: KernelCase, no_compiling: str | None) -> Found:
    """`no_compiling`: why rivals of torch.compile are left out."""
    error = checked(case)
    sets = case.sets()
    timed = time_gpu([partial(case.call, *given) for given in sets])
    rivals, skipped = {}, {}
    for rival in case.rivals:
        if rival.compiled and no_compiling:
            skipped[rival.name] = no_compiling
            continue
        try:
            rivals[rival.name] = _rival_timed(case, rival, sets)
        except (RuntimeError, ImportError, WrongResult) as why_not:
            skipped[rival.name] = str(why_not).strip().partition("\n")[0] or type(why_not).__name__
    torch.compiler.reset()
    unquantized_error = _error(case, case.call, case.unquantized) if case.unquantized else None
    return Found(case, timed, error, unquantized_error, rivals, skipped)


def _rival_timed(case: KernelCase, rival: Rival, sets: Sequence[Sequence[Any]]) -> Timed:
    call = torch.compile(rival.call, dynamic=False) if rival.compiled else rival.call
    if rival.same:
        _checked_rival(case, rival.name, call)
    return time_gpu([partial(call, *given) for given in sets])


def checked(case: KernelCase) -> float:
    """How far the op is from fp64. Raises WrongResult."""
    return _within(case.tolerance, _error(case, _poisoned(case.call), case.exact), case.name)


def _checked_rival(case: KernelCase, name: str, call: Call) -> float:
    """The same of another way."""
    return _within(case.tolerance, _error(case, call, case.unquantized or case.exact), f"{case.name} by {name}")


def _error(case: KernelCase, call: Call, exact: Call) -> float:
    """Of fresh arguments. What is exact is made first: calls may change their arguments."""
    given = case.inputs()
    expected = exact(*given)
    return relative_error(case.comparable(call(*given)), expected)


def _within(tolerance: float, error: float, name: str) -> float:
    """`error`, unless it is too large, or NaN, which is within nothing."""
    if error <= tolerance:
        return error
    raise WrongResult(f"{name} is wrong: relative error {error:.2e}, expected {tolerance:.1e} at most")


def _poisoned(call: Call) -> Call:
    """What is allocated during the call begins as NaN, so that nothing left unwritten goes unseen."""

    def poisoned(*given: Any) -> Any:  # noqa: ANN401
        # That is what torch fills new memory with where runs must not differ.
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            return call(*given)
        finally:
            torch.use_deterministic_algorithms(False)

    return poisoned


def _ceilings() -> Ceilings:
    ceilings: dict[Ceiling, float] = {"copy": copy_gb_per_s(), "bf16": matmul_tflop_per_s(torch.bfloat16)}
    if has_fp8(capability_of(torch.empty(0, device="cuda"))):
        ceilings["e4m3"] = matmul_tflop_per_s(torch.float8_e4m3fn)
    return ceilings


def _ceiling_rows(ceilings: Ceilings) -> Iterator[Row]:
    for name, value in ceilings.items():
        unit = "GB/s" if name == "copy" else "TFLOP/s"
        yield Row(case="GPU", metric=_ceiling_name(name), value=value, unit=unit, bound=None, bound_name="is a ceiling")


def rows_of(found: Found, ceilings: Ceilings) -> Iterator[Row]:
    """Throughput beside its ceiling, time with all figures, speed-up over the fastest rival and beside each target."""
    case, ceiling = found.case, found.case.ceiling
    moves = ceiling == "copy"
    rate, judged = found.gb_per_s if moves else found.tflop_per_s, moves and case.bytes >= MEMORY_TARGET_BYTES
    yield Row(
        case=case.name,
        metric="throughput",
        value=rate,
        unit="GB/s" if moves else "TFLOP/s",
        bound=ceilings[ceiling],
        bound_name=f"target {MEMORY_TARGET:.0%} of {_ceiling_name(ceiling)}" if judged else _ceiling_name(ceiling),
        detail=_detail(found, rate / ceilings[ceiling]),
    )
    arithmetic = f"{found.tflop_per_s:.1f} TFLOP/s, " if case.flop else ""
    figures = f"{arithmetic}{found.gb_per_s:.0f} GB/s, error {found.error:.1e}"
    yield Row(case=case.name, metric="time", value=1e6 * found.seconds, unit="us", bound=None, bound_name=figures)
    same = [rival.name for rival in case.rivals if rival.same]
    for least, names in ((None, same), *case.targets):
        if speed_up := found.speed_up(names):
            ratio, name = speed_up
            said = f"over {name}, the fastest other way" if least is None else f"target over {name}"
            yield Row(case=case.name, metric="speed-up", value=ratio, unit="x", bound=least, bound_name=said)


def _ceiling_name(ceiling: Ceiling) -> str:
    return "copy" if ceiling == "copy" else f"matrix product, {ceiling}"


def _error_row(case: KernelCase, metric: str, error: float) -> Row:
    return Row(
        case=case.name,
        metric=metric,
        value=1e6 * error,
        unit="1e-6",
        bound=1e6 * case.tolerance,
        bound_name="tolerance",
    )


def _detail(found: Found, share: float) -> dict[str, Any]:
    case = found.case
    return {
        "us": 1e6 * found.seconds,
        "tflop_per_s": found.tflop_per_s,
        "gb_per_s": found.gb_per_s,
        "share_of_ceiling": share,
        "flop": case.flop,
        "bytes": case.bytes,
        "timing": asdict(found.timed.timing),
        "replayed": found.timed.replayed,
        "relative_error": found.error,
        "tolerance": case.tolerance,
        "unquantized_relative_error": found.unquantized_error,
        "rivals_us": {name: 1e6 * timed.timing.median_s for name, timed in found.rivals.items()},
        # Their times count launches, ours does not.
        "rivals_launched": [name for name, timed in found.rivals.items() if not timed.replayed],
        "rivals_skipped": dict(found.skipped),
    }
