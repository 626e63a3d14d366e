"""Export at the real size, Wan2.1-Fun-V1.1-1.3B-Control with a LoRA of rank 64, of random weights: time and memory.

`python -m benchmarks.real_size_export [--folder DIR] [--engine onnx] [--engine cuda] [--engine trt] [--precision fp8]`.
Writes 3.6 GB of weights and a bundle of 3 to 6 GB per engine, kept only with --folder. Takes minutes, so `gpu_gate.sh`
leaves it out. Engines of TensorRT are for 1280x192 on sm_89; FP8 goes by scales that are made up.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.measure import run_python
from benchmarks.random_weights import write_random_adapter, write_random_weights
from benchmarks.report import Row, finish
from clear_rt.export.scales import Scales, write_scales
from clear_rt.models.dit_config import WAN_FUN_CONTROL
from clear_rt.models.fp8_policy import calibrated
from clear_rt.models.vae_config import WAN_VAE

LIMIT_GB, LIMIT_S = 16.0, 20 * 60.0
AMAX = 8.0
_EXPORT = """
import time
from clear_rt.export.build import build_bundle
from clear_rt.export.build_config import BuildConfig
from clear_rt.export.config import ExportConfig
from clear_rt.shapes import Size
folder, engines, precision = Path(sys.argv[1]), tuple(sys.argv[2].split(",")), sys.argv[3]
config = ExportConfig(
    engines=engines,
    adapters=((folder / "lora.safetensors", 1.0),),
    precision=precision,
    profiles=(Size(1280, 192),) if "trt" in engines else (),
    scales=folder / "scales.json" if precision == "fp8" else None,
)
begun = []
def tell(stage):
    begun.append((stage.partition(":")[0], time.monotonic()))
build = BuildConfig(target="sm_89", rebuild=True, verify=False)
found = build_bundle(str(folder / "weights"), folder / "bundle", config, build, tell)
begun.append(("", time.monotonic()))
stages = {}
for (stage, start), (_, end) in zip(begun, begun[1:]):
    stages[stage] = stages.get(stage, 0.0) + end - start
result = {"parameters": found.manifest["generator"]["parameters"], "stage_seconds": stages}
"""


def measure(folder: Path, engines: list[str], precision: str) -> list[Row]:
    weights, bundle = folder / "weights", folder / "bundle"
    if not (weights / "config.json").exists():
        write_random_weights(weights, WAN_FUN_CONTROL, WAN_VAE, dtype=torch.bfloat16)
        write_random_adapter(folder / "lora.safetensors", WAN_FUN_CONTROL)
    write_scales(Scales(dict.fromkeys(calibrated(WAN_FUN_CONTROL), AMAX)), folder / "scales.json")
    done = run_python(_EXPORT, [str(folder), ",".join(engines), precision])
    case = f"30 x 1536, {'+'.join(engines)}, {precision}"
    detail = done.result | {"bundle_bytes": sum(path.stat().st_size for path in bundle.iterdir())}
    print(*(f"  {stage:<24} {seconds:7.1f} s" for stage, seconds in detail["stage_seconds"].items()), sep="\n")
    memory, bound = done.peak_bytes / 1e9, "limit"
    return [
        Row(case=case, metric="peak memory", value=memory, unit="GB", bound=LIMIT_GB, bound_name=bound, detail=detail),
        Row(case=case, metric="time", value=done.seconds, unit="s", bound=LIMIT_S, bound_name=bound, detail=detail),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where weights and bundle stay")
    parser.add_argument("--engine", action="append", choices=("onnx", "cuda", "trt"))
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16", "fp8"), default="fp32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        finish("export", measure(options.folder or Path(scratch), options.engine or ["onnx"], options.precision))


if __name__ == "__main__":
    main()
