"""The streamed VAE of the `cuda` engine: its layers walked with the sizes that flow through them, nothing is run.

Source: `runtime.vae_stream`; `bench.work_vae` counts its arithmetic in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clear_rt.memory_plan.vae_layers import (
    Flow,
    Layer,
    doubling,
    first_conv,
    frame_attention,
    halving,
    normed_conv,
    pointwise,
    residual,
)
from clear_rt.models.vae_config import VaeConfig

RGB = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CoderMemory:
    """Counts of values, as `vae_layers.Layer` has them, of one coder for one size; `alive` at the peak of a step.

    `staged`: float32 values of what goes in and comes out of both its steps, the first of a run and the others.
    """

    parameters: int
    laid_out: int
    floats: int
    kept: int
    buffers: frozenset[Flow]
    alive: int
    staged: int


def encoder_memory(vae: VaeConfig, height_px: int, width_px: int) -> CoderMemory:
    """Of `StreamedEncoder` for frames of that size."""
    frame = Flow(1, height_px, width_px, RGB)
    return _memory(lambda begins: _encoder(vae, frame.over(1 if begins else vae.latent_frames), begins), frame, vae)


def decoder_memory(vae: VaeConfig, height_px: int, width_px: int) -> CoderMemory:
    """Of `StreamedDecoder` for frames of that size."""
    latent = Flow(1, height_px // vae.latent_px, width_px // vae.latent_px, vae.latent_channels)
    frame = Flow(1, height_px, width_px, RGB)
    return _memory(lambda begins: _decoder(vae, latent, begins), frame, vae)


def shared_values(*coders: CoderMemory) -> int:
    """Values of all buffers of an engine's coders, captured in this order, each with its longer step first.

    Of a geometry a longer buffer serves for shorter ones; one that is outgrown stays.
    """
    longest, values = dict[tuple[int, int, int], int](), 0
    for coder in coders:
        for flow in sorted(coder.buffers, key=lambda flow: -flow.frames):
            geometry = (flow.height, flow.width, flow.channels)
            if flow.frames > longest.get(geometry, 0):
                longest[geometry] = flow.frames
                values += flow.bordered
    return values


def _memory(walk: Callable[[bool], Iterator[Layer]], frame: Flow, vae: VaeConfig) -> CoderMemory:
    first, later = list(walk(True)), list(walk(False))
    latent = frame.values // RGB // vae.latent_px**2 * vae.latent_channels
    return CoderMemory(
        parameters=sum(layer.parameters for layer in later),
        laid_out=sum(layer.laid_out for layer in later),
        floats=sum(layer.floats for layer in later),
        kept=sum(layer.kept for layer in later),
        buffers=frozenset(flow for layer in (*first, *later) for flow in layer.buffers),
        alive=max(layer.alive for layer in later),
        staged=(1 + vae.latent_frames) * frame.values + 2 * latent,
    )


def _encoder(vae: VaeConfig, frames: Flow, begins: bool) -> Iterator[Layer]:
    layer = first_conv(frames, vae.base_width)
    yield layer
    for stage, width in enumerate(vae.widths):
        for _ in range(vae.res_blocks):
            layer = residual(layer.made, width)
            yield layer
        if stage < len(vae.temporal_down):
            layer = halving(layer.made, in_time=vae.temporal_down[stage], begins=begins)
            yield layer
    yield from _middle(layer.made)
    layer = normed_conv(layer.made, 2 * vae.latent_channels)
    yield layer
    yield pointwise(layer.made, vae.latent_channels)


def _decoder(vae: VaeConfig, latent: Flow, begins: bool) -> Iterator[Layer]:
    layer = pointwise(latent, vae.latent_channels)
    yield layer
    layer = first_conv(layer.made, vae.widths[-1])
    yield layer
    yield from _middle(layer.made)
    for stage, width in reversed(list(enumerate(vae.widths))):
        for _ in range(vae.res_blocks + 1):
            layer = residual(layer.made, width)
            yield layer
        if stage > 0:
            layer = doubling(layer.made, in_time=vae.temporal_down[stage - 1], begins=begins)
            yield layer
    yield normed_conv(layer.made, RGB)


def _middle(x: Flow) -> Iterator[Layer]:
    yield residual(x, x.channels)
    yield frame_attention(x)
    yield residual(x, x.channels)
