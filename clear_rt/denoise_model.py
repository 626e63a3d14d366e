"""What denoising asks of a model, and how the answer is checked before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

from clear_rt.canvas import Array, Canvas
from clear_rt.errors import EngineError
from clear_rt.generator import StepTable
from clear_rt.windows import WindowPlan


class Model(Protocol):
    """The part of an engine that denoises; arrays are those of the run's canvas."""

    def control(self, latents: Array) -> Array:
        """Control latents float32 [C, L, h, w] of one window, left alone -> what `velocity` wants to see again."""
        ...

    def velocity(self, latents: Array, control: Array, row: int) -> Array:
        """Latents float32 [C, L, h, w] at the timestep of a row of the table -> noise minus clean, same shape."""
        ...


@dataclass(frozen=True, slots=True)
class Sampler:
    """The Euler sampler x + v (sigma_next - sigma) of one run (reference.md 5.2)."""

    model: Model
    plan: WindowPlan
    table: StepTable
    canvas: Canvas

    @property
    def steps(self) -> int:
        return len(self.table.rows)

    def velocity(self, i: int, step: int, latents: Array, control: Array) -> Array:
        """Velocity of window i at a step; read-only for the caller, who cannot know whose memory it is.

        Raises EngineError, which names window and step, unless it is float32, finite and shaped like `latents`.
        """
        expected = self.canvas.form(latents)
        found = self.model.velocity(latents, control, self.table.rows[step])
        if self.canvas.form(found) != expected:
            raise EngineError(
                f"{self._place(i, step)}: expected a velocity {expected}, found {self.canvas.form(found)}; "
                "build the bundle again"
            )
        bad, values = self.canvas.not_finite(found), prod(found.shape)
        if bad:
            raise EngineError(
                f"{self._place(i, step)}: expected finite velocities, found {bad} of {values} NaN or infinite; "
                "try another engine or a bundle of higher precision"
            )
        return found

    def _place(self, i: int, step: int) -> str:
        window = self.plan.windows[i]
        return (
            f"window {i + 1} of {len(self.plan.windows)} (latents {window.start} to {window.stop - 1}), "
            f"step {step + 1} of {self.steps}"
        )
