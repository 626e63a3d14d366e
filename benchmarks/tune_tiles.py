"""Finds the tile of an op for a chip: what compiles without spills and fits, and on a GPU which of that is fastest.

`python -m benchmarks.tune_tiles OP [--chip 90] [--write]`. Without a GPU it compiles every candidate for `--chip` and
prints what each uses. With one it times, on the cases of `bench_kernels`, those that fit; a candidate whose result is
wrong ends the run with status 1. `--write` puts the fastest into kernels/tiles.json, with the figures as its evidence.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from itertools import repeat
from math import exp, log
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.gpu_time import time_gpu
from benchmarks.kernel_run import WrongResult, cases, checked
from benchmarks.report import Row, finish
from benchmarks.tile_candidates import SPACES
from clear_rt.kernels import aot, tiles
from clear_rt.kernels.chips import CAPABILITIES, SHARED_BYTES, capability_of
from clear_rt.kernels.tiles import Tile


@dataclass(frozen=True, slots=True)
class Candidate:
    """What ptxas says of a tile: the most that any compilation of the op uses, and why it cannot be taken, if so."""

    tile: Tile
    registers: int
    shared_bytes: int
    fault: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("op", choices=sorted(SPACES))
    parser.add_argument("--chip", type=int, choices=CAPABILITIES, help="without a GPU; otherwise that of the GPU")
    parser.add_argument("--write", action="store_true", help="put the fastest into kernels/tiles.json")
    options = parser.parse_args(arguments)
    has_gpu = torch.cuda.is_available()
    if has_gpu == (options.chip is not None):
        parser.error("expected --chip where there is no GPU, and none where there is one")
    if options.write and not has_gpu:
        parser.error("nothing is measured without a GPU, so there is nothing to write")
    chip = options.chip or capability_of(torch.empty(0, device="cuda"))
    found = candidates(options.op, chip)
    for candidate in found:
        print(f"{described(candidate.tile)}: {candidate.fault or used(candidate, chip)}", flush=True)
    fitting = [candidate.tile for candidate in found if not candidate.fault]
    print(f"{len(fitting)} of {len(found)} tiles of {options.op} fit sm_{chip}")
    if not has_gpu:
        finish("tiles, compiled", [])
        return 0
    try:
        times = {number: timed(options.op, tile) for number, tile in enumerate(fitting)}
    except WrongResult as error:
        print(f"tune_tiles: {error}", file=sys.stderr)
        return 1
    rows = [row(options.op, fitting[number], us) for number, us in times.items()]
    best = min(times, key=lambda number: mean_us(times[number]))
    if options.write:
        write(options.op, chip, fitting[best], evidence(times[best], len(fitting)))
    finish("tiles", rows)
    return 0


def candidates(op: str, chip: int) -> list[Candidate]:
    """Every tile of the op's space, compiled for a chip in processes of their own."""
    space = list(SPACES[op].tiles())
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_hush) as pool:
        return list(pool.map(_compiled, repeat(op), repeat(chip), [asdict(tile) for tile in space]))


def _hush() -> None:
    """The compiler prints whole programs where it fails."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _compiled(op: str, chip: int, fields: Mapping[str, Any]) -> Candidate:
    tile = Tile(**fields)
    aot.variants.cache_clear()
    with tiles.tried(op, tile, **SPACES[op].traits):
        names = [name for name, variant in aot.variants(chip).items() if variant.tile is tile]
        try:
            found = [aot.compiled(chip, name) for name in names]
        except Exception as why_not:  # noqa: BLE001 - a compiler's, of any kind: this tile is not for this chip
            said = str(why_not).strip().partition("\n")[0]
            return Candidate(tile, 0, 0, f"does not compile: {said or type(why_not).__name__}")
    faults = aot.faults(found)
    return Candidate(
        tile,
        max(one.resources.registers for one in found),
        max(one.resources.shared_bytes for one in found),
        faults[0] if faults else None,
    )


def timed(op: str, tile: Tile) -> dict[str, float]:
    """Microseconds of a tile by case, each compared with fp64 first. Raises WrongResult."""
    space = SPACES[op]
    found = {}
    with tiles.tried(op, tile, **space.traits), torch.no_grad():
        for name in space.cases:
            for case in cases(torch.device("cuda"), only=name):
                checked(case)
                found[case.name] = 1e6 * time_gpu([partial(case.call, *given) for given in case.sets()]).timing.median_s
                torch.cuda.empty_cache()
    return found


def mean_us(us: Mapping[str, float]) -> float:
    """The geometric mean: no case outweighs the others for being long."""
    return exp(sum(map(log, us.values())) / len(us))


def described(tile: Tile) -> str:
    return ", ".join(
        [*(f"{name} {size}" for name, size in tile.blocks.items()), f"{tile.warps} warps, {tile.stages} stages"]
    )


def used(candidate: Candidate, chip: int) -> str:
    return f"{candidate.registers} registers, {candidate.shared_bytes} of {SHARED_BYTES[chip]} bytes of shared memory"


def row(op: str, tile: Tile, us: Mapping[str, float]) -> Row:
    """The figure of a tile; those of its cases are in the detail."""
    return Row(
        case=f"{op}, {described(tile)}",
        metric="time, geometric mean",
        value=mean_us(us),
        unit="us",
        bound=None,
        bound_name=f"{len(us)} cases",
        detail={"us": dict(us)},
    )


def evidence(us: Mapping[str, float], of: int) -> str:
    """What tiles.json says of a choice."""
    figures = ", ".join(f"{name} {value:.1f} us" for name, value in us.items())
    return f"fastest of {of}, {torch.cuda.get_device_name()}, {date.today()}: {figures}"


def write(op: str, chip: int, tile: Tile, said: str) -> None:
    """Puts a row into tiles.json in place of that of the same chip and traits, a row per line."""
    table = json.loads(tiles.PATH.read_text())
    tile_row = {"capability": chip, **SPACES[op].traits, **asdict(tile), "evidence": said}
    key = ("capability", *SPACES[op].traits)
    others = [old for old in table[op] if any(old[name] != tile_row[name] for name in key)]
    table[op] = sorted([*others, tile_row], key=lambda one: [one["capability"], *map(str, one.items())])
    ops = [
        f'  "{name}": [\n' + ",\n".join(f"    {json.dumps(one)}" for one in rows) + "\n  ]"
        for name, rows in table.items()
    ]
    tiles.PATH.write_text("{\n" + ",\n".join(ops) + "\n}\n")


if __name__ == "__main__":
    sys.exit(main())
