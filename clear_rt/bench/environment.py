"""What a figure was measured on: machine, versions, commit. Clocks are read and never set."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("clear-rt", "numpy", "onnxruntime", "av", "torch", "triton", "tensorrt", "tensorrt-rtx-cu13", "pycuda")
# They change what the number libraries do, so a figure without them cannot be repeated.
_VARIABLES = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
)
_GPU_FIELDS = (
    "name",
    "driver_version",
    "memory.total",
    "clocks.max.sm",
    "clocks.sm",
    "clocks.mem",
    "temperature.gpu",
    "power.draw",
    "power.limit",
)


def environment() -> dict[str, Any]:
    """Everything needed to judge a figure, in JSON types. `load_1min` tells whether the machine was shared."""
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_1min": round(os.getloadavg()[0], 2),
        "gpus": gpus(),
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "commit": _commit(),
    }


def gpus() -> list[dict[str, str]]:
    """NVIDIA GPUs as the driver names them; empty where there is none."""
    lines = _output("nvidia-smi", f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader").splitlines()
    return [dict(zip(_GPU_FIELDS, (value.strip() for value in line.split(",")), strict=True)) for line in lines]


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """None for an installed package: a repository around its environment is another's."""
    if not (_ROOT / ".git").exists():
        return None
    commit = _output("git", "-C", str(_ROOT), "rev-parse", "--short=12", "HEAD").strip()
    changed = _output("git", "-C", str(_ROOT), "status", "--porcelain", "--untracked-files=no").strip()
    return (f"{commit}+changes" if changed else commit) or None


def _output(*command: str) -> str:
    """What a command prints; nothing where it is not installed or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout if done.returncode == 0 else ""
