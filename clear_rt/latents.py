"""Pictures to latents and back, streamed: one latent at a time, the engine's caches carried from step to step.

Source: reference.md 3.4: the first latent of a clip holds one frame, every other one four; a step at a time is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clear_rt.errors import EngineError
from clear_rt.schedule import frames_of, latents_of

UInt8 = NDArray[np.uint8]
Floats = NDArray[np.float32]
_HALF = np.float32(127.5)


class Encoder(Protocol):
    """What `encode` needs of an engine: `clear_rt.runtime.engine.Engine` says what that does."""

    def encode(self, frames: Floats, caches: Sequence[Any] | None) -> tuple[Floats, Sequence[Any]]: ...


class Decoder(Protocol):
    """What `decode` needs of an engine."""

    def decode(self, latent: Floats, caches: Sequence[Any] | None) -> tuple[Floats, Sequence[Any]]: ...


class Codec(Encoder, Decoder, Protocol):
    """Both."""


def encode(
    engine: Encoder,
    pictures: Iterable[UInt8],
    total_frames: int,
    *,
    latent_channels: int,
    latent_px: int,
    latent_frames: int = 4,
    least_latents: int = 1,
) -> Iterator[Floats]:
    """Pictures uint8 [H, W, 3] to latents float32 [C, h, w], each as soon as its pictures are there.

    Pictures are pulled when they are needed and not held. The last one is repeated until the last latent is full and
    there are `least_latents`. Raises ValueError where there are more or fewer pictures than `total_frames`, EngineError
    where a latent is not [latent_channels, H / latent_px, W / latent_px].
    """
    latents = max(latents_of(total_frames, latent_frames), least_latents)
    caches: Sequence[Any] | None = None
    group: list[UInt8] = []
    for picture in _filled(pictures, total_frames, frames_of(latents, latent_frames)):
        group.append(picture)
        if len(group) == (1 if caches is None else latent_frames):
            latent, caches = engine.encode(_to_engine(group), caches)
            expected = (latent_channels, picture.shape[0] // latent_px, picture.shape[1] // latent_px)
            if latent.shape != expected:
                raise EngineError(
                    f"expected latents {list(expected)} of crops of {picture.shape[1]}x{picture.shape[0]} (the "
                    f"bundle's latent_channels, and height and width over its latent_px), found {list(latent.shape)}; "
                    "build the bundle again"
                )
            group = []
            yield latent


def decode(engine: Decoder, latents: Iterable[Floats], total_frames: int) -> Iterator[Floats]:
    """Latents float32 [C, h, w] to pictures float32 [H, W, 3], 0..255, as many as `total_frames`.

    Latents are pulled when they are needed. Raises ValueError where they are too few, EngineError where the engine
    answers with what is no number.
    """
    caches: Sequence[Any] | None = None
    count = 0
    for latent in latents:
        frames, caches = engine.decode(latent, caches)
        for frame in frames.swapaxes(0, 1):
            if count == total_frames:
                break
            count += 1
            yield _from_engine(frame)
        if count == total_frames:
            return
    raise ValueError(f"expected latents of {total_frames} frames, got those of {count}")


def _filled(pictures: Iterable[UInt8], total_frames: int, filled_frames: int) -> Iterator[UInt8]:
    count = 0
    for count, picture in enumerate(pictures, start=1):  # noqa: B007 - both are used after the loop
        yield picture
    if count != total_frames:
        raise ValueError(f"expected {total_frames} pictures, got {count}")
    for _ in range(total_frames, filled_frames):
        yield picture


def _to_engine(pictures: Sequence[UInt8]) -> Floats:
    """Pictures uint8 [H, W, 3] to float32 [3, T, H, W], -1..1."""
    frames = np.stack([picture.transpose(2, 0, 1) for picture in pictures], axis=1).astype(np.float32)
    frames /= _HALF
    frames -= 1
    return frames


def _from_engine(frame: Floats) -> Floats:
    """float32 [3, H, W], -1..1 to [H, W, 3], 0..255."""
    picture: Floats = np.ascontiguousarray(frame.transpose(1, 2, 0), np.float32) * _HALF + _HALF
    if not np.isfinite(picture).all():
        raise EngineError(
            "the generator answered with values that are no numbers (NaN or infinity); "
            "try another --engine, or build the bundle in a higher precision"
        )
    return np.clip(picture, 0, 255, out=picture)
