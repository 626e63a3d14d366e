"""Windowed temporal denoising, in three policies (design section 5): control and noise in, clean latents out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clear_rt.canvas import Array, Canvas, HostCanvas
from clear_rt.config import Policy
from clear_rt.denoise_model import Model, Sampler
from clear_rt.denoise_stream import denoise_stream
from clear_rt.denoise_wavefront import denoise_wavefront
from clear_rt.generator import StepTable
from clear_rt.noise import Noise
from clear_rt.windows import WindowPlan


def denoise(
    control: Iterable[Array],
    noise: Noise,
    model: Model,
    plan: WindowPlan,
    table: StepTable,
    policy: Policy,
    canvas: Canvas | None = None,
) -> Iterator[Array]:
    """Yields the run's `plan.total_latents` clean latents float32 [C, h, w] in order, each as soon as it is final.

    `control` gives the run's control latents [C, h, w] in order and is pulled only when no window can go on without
    it; `noise` is asked for latents by their index in the run; `model.control` is called once per window and its
    answer let go with the window's last step. At most steps + 2 windows of latents are held (`stream`: two). Arrays are
    those of the `canvas` of the run's plan and table, numpy's where there is none.

    Raises:
        EngineError: a velocity of another shape or type, or with NaN or infinities in it.
        ValueError: `control` ends before the plan does.
    """
    sampler = Sampler(model, plan, table, canvas or HostCanvas(plan, table))
    return denoise_stream(control, noise, sampler) if policy == "stream" else denoise_wavefront(control, noise, sampler)
