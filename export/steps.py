"""The timesteps that a bundle's model knows, and which of them each number of steps uses (design section 7)."""

from __future__ import annotations

from typing import Any, NamedTuple

from clear_rt.export.config import ExportConfig
from clear_rt.schedule import bf16, sigmas

_TIMESTEPS_PER_SIGMA = 1000


class StepTables(NamedTuple):
    """`timesteps` are the rows of the model's table; `manifest` is the entry "steps" of a bundle's manifest."""

    timesteps: tuple[float, ...]
    manifest: dict[str, Any]


def step_tables(config: ExportConfig) -> StepTables:
    """Noise levels that several numbers of steps share are one row: 22 rows for 2, 3, 4, 5, 10 and 20 steps."""
    levels = {steps: sigmas(steps, config.shift) for steps in config.all_step_counts}
    rows = sorted({sigma for table in levels.values() for sigma in table[:-1]}, reverse=True)
    exact = [_TIMESTEPS_PER_SIGMA * sigma for sigma in rows]
    told = exact if config.timesteps == "exact" else [bf16(timestep) for timestep in exact]
    return StepTables(
        timesteps=tuple(told),
        manifest={
            str(steps): {"sigmas": list(table), "rows": [rows.index(sigma) for sigma in table[:-1]]}
            for steps, table in levels.items()
        },
    )
