"""Where the repository is; what a figure was measured on is `clear_rt.bench.environment`."""

from __future__ import annotations

from pathlib import Path

from clear_rt.bench.environment import environment, gpus

__all__ = ["ROOT", "environment", "gpus"]

ROOT = Path(__file__).resolve().parents[1]
