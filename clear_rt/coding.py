"""The two ends of a run, each an iterator that can be left between two items and gone on with: pictures to latents, and
latents to frames, the engine's caches carried from step to step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from clear_rt.errors import EngineError
from clear_rt.restart import Restartable
from clear_rt.states import Named, Stored, integers, numbered, require

# Numpy's, or what another side of an engine keeps (`clear_rt.side`).
Array = Any
Shape = tuple[int, int, int]


class Encoder(Protocol):
    """What encoding needs of an engine: `clear_rt.runtime.engine.Engine` says what that does."""

    def encode(self, frames: Array, caches: Sequence[Any] | None) -> tuple[Array, Sequence[Any]]: ...


class Decoder(Protocol):
    """What decoding needs of an engine."""

    def decode(self, latent: Array, caches: Sequence[Any] | None) -> tuple[Array, Sequence[Any]]: ...


class Codec(Encoder, Decoder, Protocol):
    """Both."""


class Encoding:
    """As `latents.encode_groups`; `count` latents were made so far, each of `shape` [C, h, w]."""

    def __init__(self, engine: Encoder, frame_groups: Iterable[Array], *, latent_channels: int, latent_px: int) -> None:
        self._engine, self._groups = engine, iter(frame_groups)
        self._channels, self._px = latent_channels, latent_px
        self._caches: Sequence[Any] | None = None
        self.count, self.shape = 0, (0, 0, 0)

    def __iter__(self) -> Iterator[Array]:
        return self

    def __next__(self) -> Array:
        frames = next(self._groups)
        height_px, width_px = frames.shape[2:]
        latent, self._caches = self._engine.encode(frames, self._caches)
        self.shape = (self._channels, height_px // self._px, width_px // self._px)
        if tuple(latent.shape) != self.shape:
            raise EngineError(
                f"expected latents {[*self.shape]} of crops of {width_px}x{height_px} (the "
                f"bundle's latent_channels, and height and width over its latent_px), found {[*latent.shape]}; "
                "build the bundle again"
            )
        self.count += 1
        return latent

    def named(self, side: Restartable, total_latents: int) -> Named:
        """The state, of a run of so many latents: without caches where the last one was made."""
        yield "count", integers(self.count)
        yield "shape", integers(*self.shape)
        if self._caches is not None and self.count < total_latents:
            yield from numbered("cache", side.saved(self._caches))

    def restore(self, stored: Stored, side: Restartable, total_latents: int) -> None:
        """Goes on as whoever was `named` would have. Groups are those that come after. Raises StateError."""
        self.count = encoded(stored)
        channels, height, width = stored.integers("shape", 3)
        known = channels == self._channels or self.count == 0
        require(known and self.count <= total_latents, "the state is of other latents")
        self.shape = (channels, height, width)
        if 0 < self.count < total_latents:
            self._caches = side.restored("encoder", stored.numbered("cache"))


def encoded(stored: Stored) -> int:
    """How many latents an `Encoding` had made. Raises StateError."""
    return stored.integer("count")


class Decoding:
    """As `latents.decode_frames`; `count` frames were handed out so far."""

    def __init__(self, engine: Decoder, latents: Iterable[Array], total_frames: int) -> None:
        self._engine, self._latents, self._total_frames = engine, iter(latents), total_frames
        self._caches: Sequence[Any] | None = None
        self._waiting: deque[Array] = deque()
        self.count = 0

    def __iter__(self) -> Iterator[Array]:
        return self

    def __next__(self) -> Array:
        if self.count == self._total_frames:
            # What was made for the last latent beyond it is of no use.
            self._waiting.clear()
            raise StopIteration
        if not self._waiting:
            self._decode()
        self.count += 1
        return self._waiting.popleft()

    def _decode(self) -> None:
        try:
            latent = next(self._latents)
        except StopIteration:
            raise ValueError(f"expected latents of {self._total_frames} frames, got those of {self.count}") from None
        frames, self._caches = self._engine.decode(latent, self._caches)
        self._waiting.extend(frames.swapaxes(0, 1))

    def named(self, side: Restartable) -> Named:
        """The state."""
        yield "count", integers(self.count)
        yield from numbered("frame", map(side.to_host, self._waiting))
        if self._caches is not None:
            yield from numbered("cache", side.saved(self._caches))

    def restore(self, stored: Stored, side: Restartable, size_px: tuple[int, int]) -> None:
        """Goes on as whoever was `named` would have; frames are of so many rows and columns. Raises StateError."""
        self.count = stored.integer("count")
        require(self.count <= self._total_frames, "the state is of a longer run")
        frames = stored.numbered("frame")
        require(all(frame.shape == (3, *size_px) for frame in frames), "the state is of frames of another size")
        self._waiting.extend(map(side.from_host, frames))
        if self.count:
            self._caches = side.restored("decoder", stored.numbered("cache"))
