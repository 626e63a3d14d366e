"""How a bundle is built, as far as that does not change what is in it. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from clear_rt.errors import ConfigError

LEVELS = (0, 5)
_TARGET = re.compile(r"(?:sm_?)?([1-9]\d{1,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """`target` is the GPU to build for, such as "sm_89", None for the one of this machine. A bundle that was made of
    something else is replaced only with `rebuild`; with `verify` every engine is compared with its network.
    """

    target: str | None = None
    timing_cache: Path | None = None
    level: int | None = None
    workspace_gb: float | None = None
    rebuild: bool = False
    verify: bool = True

    def __post_init__(self) -> None:
        if self.target is not None and _TARGET.fullmatch(self.target) is None:
            raise ConfigError(f"--target must be a compute capability such as sm_89, got {self.target!r}")
        if self.level is not None and not LEVELS[0] <= self.level <= LEVELS[1]:
            raise ConfigError(f"--builder-level must be {LEVELS[0]} to {LEVELS[1]}, got {self.level}")
        if self.workspace_gb is not None and not 0 < self.workspace_gb < 1e6:
            raise ConfigError(f"--workspace must be a number of GB above 0, got {self.workspace_gb}")

    @property
    def capability(self) -> int | None:
        """89 for sm_89."""
        found = None if self.target is None else _TARGET.fullmatch(self.target)
        return None if found is None else int(found[1])

    @property
    def workspace_bytes(self) -> int | None:
        return None if self.workspace_gb is None else int(self.workspace_gb * 1e9)
