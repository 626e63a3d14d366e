"""Pictures to latents and back, streamed: one latent at a time, the engine's caches carried from step to step.

Source: reference.md 3.4: the first latent of a clip holds one frame, every other one four; a step at a time is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clear_rt.coding import Array, Decoder, Decoding, Encoding
from clear_rt.coding import Codec as Codec
from clear_rt.coding import Encoder as Encoder
from clear_rt.errors import EngineError
from clear_rt.schedule import frames_of, latents_of

UInt8 = NDArray[np.uint8]
Crop = TypeVar("Crop")
Floats = NDArray[np.float32]
_HALF = np.float32(127.5)


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
    """Pictures uint8 [H, W, 3] to latents float32 [C, h, w]: `encode_groups` of their `groups`."""
    given = groups(pictures, total_frames, to_engine, latent_frames=latent_frames, least_latents=least_latents)
    return encode_groups(engine, given, latent_channels=latent_channels, latent_px=latent_px)


def groups(
    crops: Iterable[Crop],
    total_frames: int,
    shown: Callable[[Sequence[Crop]], Array],
    *,
    latent_frames: int = 4,
    least_latents: int = 1,
    first_latent: int = 0,
) -> Iterator[Array]:
    """The crops of one latent after another as they are `shown` to the encoder, [3, T, H, W], -1..1.

    T is 1, then `latent_frames`. Crops are pulled when they are needed and not held. The last one is repeated until
    the last latent is full and there are `least_latents`. From `first_latent` on, `crops` begin with the frame that
    `first_crop` names. Raises ValueError where there are more or fewer crops than `total_frames`.
    """
    latents = max(latents_of(total_frames, latent_frames), least_latents)
    if first_latent >= latents:
        return
    group: list[Crop] = []
    begin, size = first_crop(total_frames, first_latent, latent_frames), latent_frames if first_latent else 1
    filled = _filled(crops, begin, total_frames, frames_of(latents, latent_frames))
    for crop in islice(filled, _frames_before(first_latent, latent_frames) - begin, None):
        group.append(crop)
        if len(group) == size:
            made = shown(group)
            group, size = [], latent_frames
            yield made


def first_crop(total_frames: int, first_latent: int, latent_frames: int = 4) -> int:
    """The first frame of a run whose crop is needed from a latent on: latents beyond the run repeat its last."""
    return min(_frames_before(first_latent, latent_frames), total_frames - 1)


def _frames_before(latent: int, latent_frames: int) -> int:
    return frames_of(latent, latent_frames) if latent else 0


def encode_groups(engine: Encoder, frame_groups: Iterable[Array], *, latent_channels: int, latent_px: int) -> Encoding:
    """The `groups` of a run to latents float32 [C, h, w], each as soon as its group is there.

    Raises EngineError where a latent is not [latent_channels, H / latent_px, W / latent_px].
    """
    return Encoding(engine, frame_groups, latent_channels=latent_channels, latent_px=latent_px)


def decode(engine: Decoder, latents: Iterable[Floats], total_frames: int) -> Iterator[Floats]:
    """Latents float32 [C, h, w] to pictures float32 [H, W, 3], 0..255: `picture_of` every one of `decode_frames`."""
    return map(picture_of, decode_frames(engine, latents, total_frames))


def decode_frames(engine: Decoder, latents: Iterable[Array], total_frames: int) -> Decoding:
    """Latents float32 [C, h, w] to frames [3, H, W] as the engine made them, as many as `total_frames`.

    Latents are pulled when they are needed. Raises ValueError where they are too few.
    """
    return Decoding(engine, latents, total_frames)


def picture_of(frame: Floats) -> Floats:
    """A frame of an engine, float32 [3, H, W], near -1..1, to a picture float32 [H, W, 3], 0..255.

    Raises EngineError where there are values that are no numbers.
    """
    picture: Floats = np.ascontiguousarray(frame.transpose(1, 2, 0), np.float32) * _HALF + _HALF
    if not np.isfinite(picture).all():
        raise no_numbers()
    return np.clip(picture, 0, 255, out=picture)


def no_numbers() -> EngineError:
    """What is raised of generated frames with values that are no numbers."""
    return EngineError(
        "the generator answered with values that are no numbers (NaN or infinity); "
        "try another --engine, or build the bundle in a higher precision"
    )


def _filled(crops: Iterable[Crop], first_frame: int, total_frames: int, filled_frames: int) -> Iterator[Crop]:
    count = first_frame
    for count, crop in enumerate(crops, start=first_frame + 1):  # noqa: B007 - both are used after the loop
        yield crop
    if count != total_frames:
        raise ValueError(f"expected {total_frames} pictures, got {count}")
    for _ in range(total_frames, filled_frames):
        yield crop


def to_engine(pictures: Sequence[UInt8]) -> Floats:
    """Pictures uint8 [H, W, 3] to float32 [3, T, H, W], -1..1."""
    frames = np.stack([picture.transpose(2, 0, 1) for picture in pictures], axis=1).astype(np.float32)
    frames /= _HALF
    frames -= 1
    return frames
