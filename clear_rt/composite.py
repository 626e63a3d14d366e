"""Puts the fill of a box into a frame, in the frame's own sample values: what the matte does not cover stays bit-identical.

Source: design section 4; the correction field of mode "membrane" is `membrane.shift`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from clear_rt.config import CompositeConfig
from clear_rt.errors import ConfigError
from clear_rt.matte_planes import alpha_for, luma_alpha
from clear_rt.membrane import fill, shift
from clear_rt.shapes import Box, Size, plane_box

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Samples = NDArray[Any]


class PlaneLike(Protocol):
    """What is needed of a plane of `clear_rt.frames`."""

    @property
    def samples(self) -> Samples: ...
    @property
    def kind(self) -> str: ...
    @property
    def step_x_px(self) -> int: ...
    @property
    def step_y_px(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def shift(self) -> int: ...


class FrameLike(Protocol):
    """What is needed of a frame of `clear_rt.frames`."""

    @property
    def planes(self) -> Sequence[PlaneLike]: ...
    def edited(self) -> Self: ...


def paste[F: FrameLike](
    frame: F, box: Box, matte: Bytes, config: CompositeConfig, generated: Sequence[Floats | None] | None = None
) -> F:
    """Returns `frame` with the text in `box` replaced: a copy, or `frame` itself where nothing in the box is to be replaced.

    `matte` uint8 [h, w] covers the whole upright picture at any size. `generated` holds, for every plane of the frame,
    float32 [H, W] samples of `plane_box(box, ...)` in the plane's own sample values (without its `shift`), None for a plane
    that stays. Alpha planes stay. Fill "membrane" needs no `generated`, mode "off" does not look at the matte. Results are
    rounded to the nearest and clipped to 0 .. 2**bits - 1; samples of alpha 0 keep every bit.
    Raises ConfigError where generated samples are needed and missing, ValueError where their shapes do not fit.
    """
    if config.fill == "model" and generated is None:
        raise ConfigError("--fill model needs generated content and there is none; use --fill membrane")
    if config.mode == "off":
        edited = frame.edited()
        _write_whole(edited.planes, box, generated or ())
        return edited
    height, width = next((plane.samples.shape for plane in frame.planes if plane.step_x_px == plane.step_y_px == 1))
    luma = luma_alpha(matte, Size(width, height), box)
    if not luma.any():
        return frame
    edited = frame.edited()
    ...
    return edited
