"""The VAE a latent at a time, on memory that stays where it is: what the `cuda` engine captures in graphs.

Equal to `models.vae_step` but for rounding. Frames are [T, H, W, C] throughout; what a step keeps for the next is in
the layers (`vae_layers`), so that a coder serves one run at a time. Source: reference.md 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from torch import Tensor, nn

from clear_rt.models.vae_blocks import AttentionBlock, Head, ResidualBlock
from clear_rt.models.vae_coders import Middle
from clear_rt.models.vae_resample import Downsample, Upsample
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.cuda.vae_layers import (
    Buffers,
    Doubling,
    FirstConv,
    FrameAttention,
    Halving,
    Layer,
    Residual,
    normed_conv,
    pointwise,
)
from clear_rt.runtime.cuda.vae_ops import VaeOps


class Streamed:
    """The layers of a coder."""

    _layers: list[Layer]

    def kept(self) -> list[Tensor]:
        """What the layers keep for the next step, in their own memory; all of it is there after the first one."""
        return list(chain.from_iterable(layer.kept() for layer in self._layers))


class StreamedEncoder(Streamed):
    """Frames [T, H, W, 3] in [-1, 1] -> normalised latent [1, H/8, W/8, C]; T is 1 where a run `begins`, then 4."""

    def __init__(self, step: EncoderStep, ops: VaeOps, buffers: Buffers) -> None:
        coder = step.encoder
        self._layers = [FirstConv(coder.conv1, ops, buffers)]
        for layer in (*coder.downsamples, coder.middle, coder.head):
            self._layers += _layers(layer, ops, buffers)
        self._conv = step.conv1

    def __call__(self, frames: Tensor, begins: bool) -> Tensor:
        for layer in self._layers:
            frames = layer(frames, begins)
        return pointwise(self._conv, frames)


class StreamedDecoder(Streamed):
    """Normalised latent [1, h, w, C] -> frames [T, 8h, 8w, 3] near [-1, 1]; T is 1 where a run `begins`, then 4."""

    def __init__(self, step: DecoderStep, ops: VaeOps, buffers: Buffers) -> None:
        coder = step.decoder
        self._conv = step.conv2
        self._layers = [FirstConv(coder.conv1, ops, buffers)]
        for layer in (coder.middle, *coder.upsamples, coder.head):
            self._layers += _layers(layer, ops, buffers)

    def __call__(self, frames: Tensor, begins: bool) -> Tensor:
        """As the class says; `frames` is the latent."""
        frames = pointwise(self._conv, frames)
        for layer in self._layers:
            frames = layer(frames, begins)
        return frames


def _layers(layer: nn.Module, ops: VaeOps, buffers: Buffers) -> Iterator[Layer]:
    if isinstance(layer, Middle):
        for part in layer:
            yield from _layers(part, ops, buffers)
    elif isinstance(layer, Head):
        yield normed_conv(*layer, ops=ops, buffers=buffers)
    elif isinstance(layer, ResidualBlock):
        yield Residual(layer, ops, buffers)
    elif isinstance(layer, AttentionBlock):
        yield FrameAttention(layer)
    elif isinstance(layer, Downsample):
        yield Halving(layer, ops)
    elif isinstance(layer, Upsample):
        yield Doubling(layer, ops, buffers)
    else:
        raise TypeError(f"no streamed form of {type(layer).__name__}")
