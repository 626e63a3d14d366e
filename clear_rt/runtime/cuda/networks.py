"""Transformer and VAE of the `cuda` engine: a graph for windows of one shape, and coders for runs of one size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TypeVar
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from clear_rt.errors import EngineError
from clear_rt.kernels.block_ops import use_kernels
from clear_rt.models.baked import BakedDit
from clear_rt.models.fp8 import Fp8Linear
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.runtime.cuda.coder_runs import CoderRuns
from clear_rt.runtime.cuda.graphs import Graphs
from clear_rt.runtime.cuda.staging import Staged
from clear_rt.runtime.cuda.vae_layers import Buffers
from clear_rt.runtime.cuda.vae_ops import KernelVaeOps, TorchVaeOps, VaeOps
from clear_rt.runtime.cuda.vae_stream import StreamedDecoder, StreamedEncoder
from clear_rt.runtime.engine import Caches, Floats
from clear_rt.runtime.torch_networks import short

T = TypeVar("T")
# A region of another size is another graph; more than these are seldom in use at once.
MOST_SHAPES = 4


class CudaNetworks:
    """Transformer and VAE on the device and in the types that they are in; arrays are float32 outside.

    May be called from several threads, one of which waits for the other.
    """

    def __init__(self, dit: BakedDit, encoder: EncoderStep, decoder: DecoderStep, *, by_kernels: bool = True) -> None:
        self._dit, self._device = dit, dit.time.device
        self.graphs = Graphs(self._device)
        self._one_at_a_time = Lock()
        ops: VaeOps = TorchVaeOps()
        if by_kernels:
            use_kernels(dit)
            ops = KernelVaeOps()
        # By size in pixels, and as long as a coder of that size is there. Steps follow each other on one stream, and
        # each fills what it reads: all of a size share these.
        buffers: WeakValueDictionary[tuple[int, int], Buffers] = WeakValueDictionary()

        def shared(height_px: int, width_px: int) -> Buffers:
            found = buffers.get((height_px, width_px)) or Buffers(encoder.conv1.weight)
            buffers[height_px, width_px] = found
            return found

        px = encoder.config.latent_px
        where = self.graphs, self._device, encoder.conv1.weight.dtype
        frames = encoder.config.latent_frames
        self._encoders = CoderRuns(
            lambda size: StreamedEncoder(encoder, ops, shared(*size[1:])), frames, *where, "encode"
        )
        self._decoders = CoderRuns(
            lambda size: StreamedDecoder(decoder, ops, shared(px * size[1], px * size[2])), 1, *where, "decode"
        )
        self._steps: OrderedDict[tuple[int, ...], _Step] = OrderedDict()

    @property
    def precision(self) -> str:
        """What most of the transformer is computed in."""
        if any(isinstance(module, Fp8Linear) for module in self._dit.modules()):
            return "fp8"
        return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(self._dit.time.dtype, "fp32")

    def encode(self, frames: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.encode`."""
        latent, run = self._ran(lambda: self._encoders(frames, caches), frames.shape)
        return latent[:, 0], run

    def decode(self, latent: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.decode`."""
        return self._ran(lambda: self._decoders(latent[:, None], caches), latent.shape)

    def control(self, latents: Floats) -> Tensor:
        """As `Engine.control`."""
        given = torch.from_numpy(np.ascontiguousarray(latents))[None].to(self._dit.time)
        tokens: Tensor = self._ran(lambda: self._dit.control(given), latents.shape)
        return tokens

    def velocity(self, latents: Floats, control: Tensor, row: int) -> Floats:
        """As `Engine.velocity`."""
        return self._ran(lambda: self._step_of(latents.shape, control)(latents, control, row), latents.shape)

    def _step_of(self, shape: tuple[int, ...], control: Tensor) -> _Step:
        if shape not in self._steps:
            while len(self._steps) >= MOST_SHAPES:
                self._steps.popitem(last=False)
            self._steps[shape] = _Step(self._dit, shape, control, self.graphs)
        self._steps.move_to_end(shape)
        return self._steps[shape]

    @torch.no_grad()
    def _ran(self, call: Callable[[], T], shape: tuple[int, ...]) -> T:
        try:
            with self._one_at_a_time:
                return call()
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"--engine cuda: the GPU's memory does not hold {[*shape]} ({short(error)}); "
                "use a smaller --region, or a bundle with shorter windows"
            ) from None
        except (RuntimeError, IndexError, ValueError) as error:
            raise EngineError(
                f"--engine cuda failed on {[*shape]} ({short(error)}); build or fetch the bundle again"
            ) from None


class _Step:
    """One denoising step of windows of one shape [C, L, h, w]."""

    def __init__(self, dit: BakedDit, shape: tuple[int, ...], control: Tensor, graphs: Graphs) -> None:
        device = dit.time.device
        self._latents, self._velocity = Staged(shape, device), Staged(shape, device)
        self._control, self._row = torch.empty_like(control), torch.zeros((), dtype=torch.int64, device=device)
        self._rows = torch.arange(len(dit.time), device=device)

        def run() -> None:
            made = dit(self._latents.tensor[None].to(dit.time.dtype), self._control, self._row)
            self._velocity.tensor.copy_(made[0])

        self._run = graphs.captured(run, "step")

    def __call__(self, latents: Floats, control: Tensor, row: int) -> Floats:
        self._latents.fill(latents)
        self._control.copy_(control)
        self._row.copy_(self._rows[row])
        self._run()
        return self._velocity.array()
