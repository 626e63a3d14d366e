"""What denoising asks of a model, and how the answer is checked before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clear_rt.errors import EngineError
from clear_rt.generator import StepTable
from clear_rt.windows import WindowPlan

Floats = NDArray[np.float32]


class Model(Protocol):
    """The part of an engine that denoises."""

    def control(self, latents: Floats) -> Any:  # noqa: ANN401 - handed back as it came
        """Control latents float32 [C, L, h, w] of one window -> whatever `velocity` wants to see again."""
        ...

    def velocity(self, latents: Floats, control: Any, row: int) -> Floats:  # noqa: ANN401 - from `control`
        """Latents float32 [C, L, h, w] at the timestep of a row of the table -> noise minus clean, same shape."""
        ...


@dataclass(frozen=True, slots=True)
class Sampler:
    """The Euler sampler x + v (sigma_next - sigma) of one run (reference.md 5.2)."""

    model: Model
    plan: WindowPlan
    table: StepTable

    @property
    def steps(self) -> int:
        return len(self.table.rows)

    def sigma(self, step: int) -> np.float32:
        return np.float32(self.table.sigmas[step])

    def change(self, step: int) -> np.float32:
        """sigma_next - sigma of a step, rounded once."""
        return np.float32(self.table.sigmas[step + 1] - self.table.sigmas[step])

    def velocity(self, i: int, step: int, latents: Floats, control: Any) -> Floats:  # noqa: ANN401 - from the model
        """Velocity of window i at a step; read-only for the caller, who cannot know whose memory it is.

        Raises EngineError, which names window and step, unless it is float32, finite and shaped like `latents`.
        """
        found = self.model.velocity(latents, control, self.table.rows[step])
        if found.shape != latents.shape or found.dtype != np.float32:
            raise EngineError(
                f"{self._place(i, step)}: expected a velocity float32 {list(latents.shape)}, found {found.dtype} "
                f"{list(found.shape)}; build the bundle again"
            )
        bad = found.size - np.count_nonzero(np.isfinite(found))
        if bad:
            raise EngineError(
                f"{self._place(i, step)}: expected finite velocities, found {bad} of {found.size} NaN or infinite; "
                "try another engine or a bundle of higher precision"
            )
        return found

    def _place(self, i: int, step: int) -> str:
        window = self.plan.windows[i]
        return (
            f"window {i + 1} of {len(self.plan.windows)} (latents {window.start} to {window.stop - 1}), "
            f"step {step + 1} of {self.steps}"
        )
