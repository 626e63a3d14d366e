"""When the sampler looks: noise levels, timesteps, and frames against latents. Exact rationals until the last rounding.

Source: reference.md 3.4 and 5.1. With s = 1 - i/n the noise level is sigma = shift s / (1 + (shift - 1) s).
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

SHIFT = 5.0
TIMESTEPS = 1000


def sigmas(steps: int, shift: float = SHIFT) -> tuple[float, ...]:
    """`steps` + 1 noise levels from 1 strictly down to 0, each the float nearest to the exact value.

    Raises ValueError where `steps` < 1 or `shift` is not a positive number.
    """
    return tuple(float(level) for level in _levels(steps, shift))


def timesteps(steps: int, shift: float = SHIFT) -> tuple[float, ...]:
    """What the model is told at each of the `steps` steps: 1000 sigma, in 0..1000. Raises as `sigmas`."""
    return tuple(float(TIMESTEPS * level) for level in _levels(steps, shift)[:-1])


def bf16(value: float) -> float:
    """`value` rounded to float32 and then to bf16, both to nearest even, which is how frameworks round a number.

    The released code passes its timesteps so, 884 instead of 882.35 (reference.md 5.3). Infinities and NaN come back
    as they are. Raises OverflowError where float32 cannot hold the value.
    """
    if not math.isfinite(value):
        return value
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    # Half of what is cut off, less one where the last bit that stays is even: a tie then goes to the even neighbour.
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    result: float = struct.unpack("<f", struct.pack("<I", rounded))[0]
    return result


def latents_of(frames: int, latent_frames: int = 4) -> int:
    """Latents that hold `frames` frames: the first one, every other `latent_frames`. Raises ValueError below one."""
    _at_least_one(frames, "frames")
    return -(-(frames - 1) // latent_frames) + 1


def frames_of(latents: int, latent_frames: int = 4) -> int:
    """Frames that `latents` latents hold. Raises ValueError below one."""
    _at_least_one(latents, "latents")
    return latent_frames * (latents - 1) + 1


def _levels(steps: int, shift: float) -> list[Fraction]:
    _at_least_one(steps, "steps")
    if not (math.isfinite(shift) and shift > 0):
        raise ValueError(f"expected a positive shift, got {shift}")
    exact = Fraction(shift)
    ramp = [Fraction(steps - i, steps) for i in range(steps + 1)]
    return [exact * s / (1 + (exact - 1) * s) for s in ramp]


def _at_least_one(value: int, what: str) -> None:
    if value < 1:
        raise ValueError(f"expected at least one of {what}, got {value}")
