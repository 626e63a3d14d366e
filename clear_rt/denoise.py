"""Windowed temporal denoising, in three policies (design section 5): control and noise in, clean latents out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from clear_rt.config import Policy
from clear_rt.denoise_model import Model, Sampler
from clear_rt.denoise_stream import denoise_stream
from clear_rt.denoise_wavefront import denoise_wavefront
from clear_rt.generator import StepTable
from clear_rt.noise import Noise
from clear_rt.windows import WindowPlan

Floats = NDArray[np.float32]


def denoise(
    control: Iterable[Floats], noise: Noise, model: Model, plan: WindowPlan, table: StepTable, policy: Policy
) -> Iterator[Floats]:
    """Yields the run's `plan.total_latents` clean latents float32 [C, h, w] in order, each as soon as it is final.

    `control` gives the run's control latents [C, h, w] in order and is pulled only when no window can go on without
    it; `noise` is asked for latents by their index in the run; `model.control` is called once per window and its
    answer let go with the window's last step. At most steps + 2 windows of latents are held (`stream`: two).

    Raises:
        EngineError: a velocity of another shape or type, or with NaN or infinities in it.
        ValueError: `control` ends before the plan does.
    """
    sampler = Sampler(model, plan, table)
    return denoise_stream(control, noise, sampler) if policy == "stream" else denoise_wavefront(control, noise, sampler)
