"""Export at the real size, Wan2.1-Fun-V1.1-1.3B-Control, from random weights: time and peak memory.

`python -m benchmarks.real_size_export [--folder DIR] [--engine onnx] [--engine cuda]`. Writes 3.4 GB of weights and a
bundle of 6 GB per engine, kept only with --folder. Takes minutes, so `gpu_gate.sh` leaves it out.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.measure import run_python
from benchmarks.random_weights import write_random_weights
from benchmarks.report import Row, finish
from clear_rt.models.dit_config import WAN_FUN_CONTROL
from clear_rt.models.vae_config import WAN_VAE

LIMIT_GB, LIMIT_S = 16.0, 20 * 60.0
_EXPORT = """
from pathlib import Path
from clear_rt.export.bundle import export
from clear_rt.export.config import ExportConfig
weights, target, engines = sys.argv[1:]
manifest = export(Path(weights), Path(target), ExportConfig(engines=tuple(engines.split(","))))
result = manifest["generator"]["parameters"]
"""


def measure(folder: Path, engines: list[str]) -> list[Row]:
    weights, bundle = folder / "weights", folder / "bundle"
    if not (weights / "config.json").exists():
        write_random_weights(weights, WAN_FUN_CONTROL, WAN_VAE, dtype=torch.bfloat16)
    done = run_python(_EXPORT, [str(weights), str(bundle), ",".join(engines)])
    case = f"30 x 1536, {'+'.join(engines)}"
    size_bytes = sum(path.stat().st_size for path in bundle.iterdir())
    detail = {"parameters": done.result, "bundle_bytes": size_bytes}
    return [
        Row(
            case=case,
            metric="peak memory",
            value=done.peak_bytes / 1e9,
            unit="GB",
            bound=LIMIT_GB,
            bound_name="limit",
            detail=detail,
        ),
        Row(case=case, metric="time", value=done.seconds, unit="s", bound=LIMIT_S, bound_name="limit", detail=detail),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where weights and bundle stay")
    parser.add_argument("--engine", action="append", choices=("onnx", "cuda"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        finish("export", measure(options.folder or Path(scratch), options.engine or ["onnx"]))


if __name__ == "__main__":
    main()
