"""Windowed temporal denoising, in three policies (design section 5): control and noise in, clean latents out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from clear_rt.canvas import Array, Canvas, HostCanvas
from clear_rt.config import Policy
from clear_rt.denoise_model import Model, Sampler
from clear_rt.denoise_stream import Stream
from clear_rt.denoise_wavefront import Wavefront
from clear_rt.generator import StepTable
from clear_rt.noise import Noise
from clear_rt.restart import Restartable
from clear_rt.states import Named, Stored
from clear_rt.windows import WindowPlan


class Denoising(Iterator[Array], Protocol):
    """Clean latents, one after the other; between two of them it can be left and gone on with."""

    @property
    def calls(self) -> int:
        """How often the model was asked for a velocity so far."""
        ...

    def named(self, side: Restartable) -> Named:
        """The state."""
        ...

    def restore(self, stored: Stored, side: Restartable, shape: tuple[int, ...]) -> None:
        """Goes on as whoever was `named` would have; `control` then gives what had not been pulled.

        Latents are of that shape [C, h, w]. The model is asked for its `control` of windows under way. Raises
        StateError.
        """
        ...


def denoise(
    control: Iterable[Array],
    noise: Noise,
    model: Model,
    plan: WindowPlan,
    table: StepTable,
    policy: Policy,
    canvas: Canvas | None = None,
) -> Denoising:
    """Gives the run's `plan.total_latents` clean latents float32 [C, h, w] in order, each as soon as it is final.

    `control` gives the run's control latents [C, h, w] in order and is pulled only when no window can go on without
    it; `noise` is asked for latents by their index in the run; `model.control` is called once per window and its
    answer let go with the window's last step. At most steps + 2 windows of latents are held (`stream`: two). Arrays are
    those of the `canvas` of the run's plan and table, numpy's where there is none.

    Raises:
        EngineError: a velocity of another shape or type, or with NaN or infinities in it.
        ValueError: `control` ends before the plan does.
    """
    sampler = Sampler(model, plan, table, canvas or HostCanvas(plan, table))
    return Stream(control, noise, sampler) if policy == "stream" else Wavefront(control, noise, sampler)
