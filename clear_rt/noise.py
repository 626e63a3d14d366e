"""The noise that sampling starts from, one latent at a time: drawn, or read from a file for parity runs.

Every latent has a stretch of 2**192 blocks of its own in the Philox sequence of (seed, run), so its noise depends on
nothing else: not on clip length, engine, window or resume.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clear_rt.errors import ConfigError

Floats = NDArray[np.float32]
Noise = Callable[[int, tuple[int, ...]], Floats]

KEY_LIMIT = 2**64


def drawn(seed: int, run: int) -> Noise:
    """Function (latent index, shape) -> standard normal float32 of that shape.

    Raises ValueError where a number is outside 0..2**64 - 1, as the function does for its index.
    """
    key = _words(seed, run)

    def noise(latent: int, shape: tuple[int, ...]) -> Floats:
        # The counter's lowest word comes first and the sequence counts it up; the last word is never reached by that.
        bits = np.random.Philox(key=key, counter=_words(0, 0, 0, latent))
        return np.random.Generator(bits).standard_normal(shape, dtype=np.float32)

    return noise


def from_file(path: Path) -> Noise:
    """The noise of a parity run: .npy, float32 [C, L, h, w], finite, L at least the latents asked for.

    Raises ConfigError where the file is none of that; the function raises it for another shape or a latent too many.
    """
    stored = _opened(path)

    def noise(latent: int, shape: tuple[int, ...]) -> Floats:
        channels, latents, height, width = stored.shape
        if (channels, height, width) != shape:
            raise ConfigError(
                f"{path} holds noise for latents {_by((channels, height, width))}, the run needs {_by(shape)}; "
                "use noise made for this region, or none"
            )
        if latent >= latents:
            raise ConfigError(
                f"{path} holds noise for {latents} latents, the run needs more than {latent}; use a longer one, or none"
            )
        return np.array(stored[:, latent], np.float32)

    return noise


def _opened(path: Path) -> Floats:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Mapped, not read, and never unpickled.
            stored = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # noqa: BLE001 - numpy parses the header as Python: a damaged one may raise anything
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160] or type(error).__name__
        raise ConfigError(f"{path} cannot be read as noise ({reason}); give a .npy file of float32") from None
    if stored.dtype != np.float32 or stored.ndim != 4 or 0 in stored.shape:
        raise ConfigError(
            f"{path} must hold noise float32 [channels, latents, height, width], none of them 0, found "
            f"{stored.dtype} {_by(stored.shape) or 'without axes'}; save it again in that form"
        )
    for latent in range(stored.shape[1]):
        if not np.isfinite(stored[:, latent]).all():
            raise ConfigError(f"{path} holds NaN or infinite noise at latent {latent}; save it again")
    return stored


def _words(*numbers: int) -> NDArray[np.uint64]:
    if not all(0 <= number < KEY_LIMIT for number in numbers):
        raise ValueError(f"expected numbers of 0 to 2**64 - 1, got {', '.join(map(str, numbers))}")
    return np.array(numbers, np.uint64)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
