"""The generated frames of one run, which can be left between two frames and gone on with by another process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clear_rt.canvas import Array
from clear_rt.coding import Decoding, Encoding
from clear_rt.denoise import Denoising
from clear_rt.report import Stopwatch
from clear_rt.restart import Restartable
from clear_rt.side import Side
from clear_rt.states import Named, StateError, Stored, within

_ENCODING, _DENOISING, _DECODING = "encoding", "denoising", "decoding"


@dataclass(frozen=True, slots=True)
class Stages:
    """What a run goes through, each pulling from the one before, and all that is held between two frames."""

    encoding: Encoding
    denoising: Denoising
    decoding: Decoding
    total_latents: int
    latent_px: int

    def named(self, side: Restartable) -> Named:
        """The state."""
        yield from within(_ENCODING, self.encoding.named(side, self.total_latents))
        yield from within(_DENOISING, self.denoising.named(side))
        yield from within(_DECODING, self.decoding.named(side))

    def restore(self, stored: Stored, side: Side) -> None:
        """Takes up a state before the first frame. Raises StateError."""
        if not isinstance(side, Restartable):
            raise StateError("this engine cannot take up a state")
        self.encoding.restore(encoder_state(stored), side, self.total_latents)
        shape = self.encoding.shape
        self.denoising.restore(stored.part(_DENOISING), side, shape)
        size_px = shape[1] * self.latent_px, shape[2] * self.latent_px
        self.decoding.restore(stored.part(_DECODING), side, size_px)


def encoder_state(stored: Stored) -> Stored:
    """The part of the encoding in the state of a run."""
    return stored.part(_ENCODING)


class Generation:
    """Frames [3, H, W] of the side, as `CropGenerator.frames` says."""

    def __init__(self, stages: Stages, side: Side, watch: Stopwatch) -> None:
        self._stages, self._side = stages, side
        self._frames = watch.each(stages.decoding, "decode latents")

    def __iter__(self) -> Iterator[Array]:
        return self

    def __next__(self) -> Array:
        return next(self._frames)

    @property
    def calls(self) -> int:
        """Steps of windows that were taken so far."""
        return self._stages.denoising.calls

    def state(self) -> Named:
        """All that is held after the last frame, for `frames`; read it to its end before the next one.

        Raises StateError where the engine's side is not `Restartable`.
        """
        if not isinstance(self._side, Restartable):
            raise StateError("what this engine holds cannot be taken out")
        return self._stages.named(self._side)
