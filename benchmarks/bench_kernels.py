"""Every kernel of clear_rt beside the ceilings of the GPU and the fastest other way to its result, in one run.

`python -m benchmarks.bench_kernels [--only OP] [--quick] [--dry-run]`. What it prints is the row to send in for a GPU.
A kernel is compared with fp64 before it is timed, and a wrong one ends the run with status 1. Without a GPU nothing is
measured; `--dry-run` computes every case once at a tiny size, on a CPU in Triton's interpreter.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import torch

from benchmarks.report import finish


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="OP", help="cases of one op, such as norm_modulate")
    parser.add_argument("--quick", action="store_true", help="leave out rivals that torch.compile makes")
    parser.add_argument("--dry-run", action="store_true", help="every case once at a tiny size: nothing is timed")
    options = parser.parse_args(arguments)
    has_gpu = torch.cuda.is_available()
    if not has_gpu and not options.dry_run:
        print("nothing measured: no NVIDIA GPU here")
        finish("kernels", [])
        return 0
    if not has_gpu:
        # Before anything imports Triton.
        os.environ["TRITON_INTERPRET"] = "1"
    from benchmarks.kernel_run import WrongResult, cases, measured, tried

    device = torch.device("cuda" if has_gpu else "cpu")
    chosen = cases(device, only=options.only, tiny=options.dry_run)
    if not chosen:
        ops = dict.fromkeys(case.op for case in cases(device, tiny=True))
        parser.error(f"no case of {options.only}; there are {', '.join(ops)}")
    try:
        with torch.no_grad():
            rows = tried(chosen) if options.dry_run else measured(chosen, quick=options.quick)
    except WrongResult as error:
        print(f"bench_kernels: {error}", file=sys.stderr)
        return 1
    finish("dry run" if options.dry_run else "kernels", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
