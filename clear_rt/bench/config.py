"""What `clear-rt bench` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from clear_rt.config import EngineName, KernelsName, Policy, RunConfig
from clear_rt.errors import ConfigError

BaselineName = Literal["diffusers", "compile", "reference"]
MOST_RUNS = 10_000
_RUN = RunConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """`runs` steady windows are timed per profile, after a first one and `warmups` more; `picture_frames` frames of
    every stage that touches pictures. `policy` None: `stream` for windows of a live profile, else `paper`.
    `end_to_end` and `quality` None: where they are predicted to take less than their limits, in seconds. `max_memory`:
    a size such as 8GB that no profile may exceed by plan.
    """

    profiles: tuple[str, ...] = ("720p-band192",)
    engine: EngineName = _RUN.engine
    kernels: KernelsName = _RUN.kernels
    bundle: Path | None = None
    steps: int | None = None
    policy: Policy | None = None
    runs: int = 5
    warmups: int = 1
    picture_frames: int = 50
    end_to_end: bool | None = None
    end_to_end_limit_s: float = 120.0
    quality: bool | None = None
    quality_limit_s: float = 120.0
    baselines: tuple[BaselineName, ...] = ()
    max_memory: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= MOST_RUNS:
            raise ConfigError(f"--runs must be 1..{MOST_RUNS}, got {self.runs}")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"--steps must be 1 or more, got {self.steps}")
        if self.warmups < 0 or self.picture_frames < 1:
            raise ConfigError(
                f"bench needs warmups >= 0 and picture_frames >= 1, got {self.warmups} and {self.picture_frames}"
            )
        unknown = next((name for name in self.baselines if name not in get_args(BaselineName)), None)
        if unknown is not None or len(set(self.baselines)) < len(self.baselines):
            raise ConfigError(
                f"--baseline must name different ones of {', '.join(get_args(BaselineName))}, "
                f"got {', '.join(self.baselines)}"
            )
        if len(set(self.profiles)) < len(self.profiles) or not self.profiles:
            raise ConfigError(f"--profile must name different profiles, got {', '.join(self.profiles) or 'none'}")
