"""The timesteps that a bundle's model knows, and which of them each number of steps uses (design section 7)."""

from __future__ import annotations

from typing import Any, NamedTuple

from clear_rt.export.config import ExportConfig
from clear_rt.schedule import bf16, sigmas, timesteps


class StepTables(NamedTuple):
    """`timesteps` are the rows of the model's table; `manifest` is the entry "steps" of a bundle's manifest."""

    timesteps: tuple[float, ...]
    manifest: dict[str, Any]


def step_tables(config: ExportConfig) -> StepTables:
    """Noise levels that several numbers of steps share are one row: 22 rows for 2, 3, 4, 5, 10 and 20 steps."""
    told = {steps: timesteps(steps, config.shift) for steps in config.all_step_counts}
    rows = sorted({timestep for table in told.values() for timestep in table}, reverse=True)
    return StepTables(
        timesteps=tuple(rows if config.timesteps == "exact" else map(bf16, rows)),
        manifest={
            str(steps): {
                "sigmas": list(sigmas(steps, config.shift)),
                "rows": [rows.index(timestep) for timestep in table],
            }
            for steps, table in told.items()
        },
    )
