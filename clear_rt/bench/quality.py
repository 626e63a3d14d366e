"""What a speed costs in quality: the same window through an engine and through a reference, pixels and velocities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_rt.bench.network import Window, drawn_noise
from clear_rt.bench.scene import Captions, Scene
from clear_rt.config import DenoiseConfig
from clear_rt.generate import fitting
from clear_rt.latents import decode, encode
from clear_rt.shapes import Size, whole

if TYPE_CHECKING:
    from clear_rt.generator import GeneratorSpec, StepTable
    from clear_rt.runtime.engine import Engine

Floats = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


class _Outcome(NamedTuple):
    control: Floats
    pictures: list[UInt8]


def compared(
    engine: Engine,
    reference: Engine,
    spec: GeneratorSpec,
    size: Size,
    *,
    window: Window | None = None,
    steps: int | None = None,
) -> dict[str, Any]:
    """One window of the captioned scene, same noise, from pixels to pixels through each engine; JSON types.

    `psnr_db` (None where they are equal) and `ssim` over all frames of the region, rounded to 8 bits;
    `velocity_relative_rms` at the first step, both given the reference's latents: the figure for random weights.
    """
    window, table = window or Window.of(spec), fitting(spec, DenoiseConfig(steps=steps)).table
    noise = drawn_noise(spec, size, window)
    expected, found = (_outcome(each, spec, size, window, table, noise) for each in (reference, engine))
    first = [each.velocity(noise.copy(), each.control(expected.control), table.rows[0]) for each in (reference, engine)]
    return {
        "reference": reference.name,
        "frames": len(expected.pictures),
        "psnr_db": psnr_db(found.pictures, expected.pictures),
        "ssim": _ssim(found.pictures, expected.pictures),
        "velocity_relative_rms": relative_rms(first[1], first[0]),
    }


def psnr_db(pictures: Sequence[UInt8], expected: Sequence[UInt8]) -> float | None:
    """Over all values of all pictures; None where all are equal."""
    squares = sum(
        int(np.square(a.astype(np.int64) - b.astype(np.int64)).sum()) for a, b in zip(pictures, expected, strict=True)
    )
    count = sum(picture.size for picture in expected)
    return 10 * math.log10(255**2 * count / squares) if squares else None


def relative_rms(values: Floats, expected: Floats) -> float:
    """Length of the difference over the length of what was expected."""
    difference = values.astype(np.float64) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))


def _ssim(pictures: Sequence[UInt8], expected: Sequence[UInt8]) -> float:
    from clear_rt.metrics.ssim import ssim

    found = [ssim(a, b) for a, b in zip(pictures, expected, strict=True)]
    return sum(found) / len(found)


def _outcome(
    engine: Engine, spec: GeneratorSpec, size: Size, window: Window, table: StepTable, noise: Floats
) -> _Outcome:
    control_latents = _encoded(engine, spec, size, window)
    control, latents = engine.control(control_latents), noise.copy()
    for step, row in enumerate(table.rows):
        velocity = engine.velocity(latents.copy(), control, row)
        latents += velocity * np.float32(table.sigmas[step + 1] - table.sigmas[step])
    clean = (np.ascontiguousarray(latents[:, i]) for i in range(window.latents))
    pictures = [np.rint(picture).astype(np.uint8) for picture in decode(engine, clean, window.frames)]
    return _Outcome(control_latents, pictures)


def _encoded(engine: Engine, spec: GeneratorSpec, size: Size, window: Window) -> Floats:
    pictures = Scene(size).pictures(window.frames, Captions(size, whole(size)))
    latents = encode(
        engine,
        pictures,
        window.frames,
        latent_channels=spec.latent_channels,
        latent_px=spec.latent_px,
        latent_frames=spec.latent_frames,
    )
    return np.stack([np.array(latent, np.float32) for latent in latents], axis=1)
