"""Transformer and VAE of the `cuda` engine on the GPU: a graph for a shape of windows, coders for runs of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from clear_rt.canvas import Canvas
from clear_rt.errors import EngineError
from clear_rt.generator import StepTable
from clear_rt.kernels.block_ops import use_kernels
from clear_rt.latents import no_numbers
from clear_rt.models.baked import BakedDit
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.pictures import Pictures
from clear_rt.restart import Coder, Host
from clear_rt.runtime.cuda.canvas import DeviceCanvas
from clear_rt.runtime.cuda.coder_runs import CoderRuns
from clear_rt.runtime.cuda.crossing import as_bits, from_bits
from clear_rt.runtime.cuda.failures import told
from clear_rt.runtime.cuda.graphs import Graphs
from clear_rt.runtime.cuda.latent_ops import KernelLatentOps, LatentOps, TorchLatentOps
from clear_rt.runtime.cuda.picture_ops import KernelPictureOps, PictureOps, TorchPictureOps
from clear_rt.runtime.cuda.pictures import DevicePictures
from clear_rt.runtime.cuda.vae_layers import Buffers
from clear_rt.runtime.cuda.vae_ops import KernelVaeOps, TorchVaeOps, VaeOps
from clear_rt.runtime.cuda.vae_stream import StreamedDecoder, StreamedEncoder
from clear_rt.runtime.engine import Caches
from clear_rt.runtime.latest import Latest
from clear_rt.states import StateError
from clear_rt.windows import WindowPlan

T = TypeVar("T")
# A region of another size is another graph; more than these are seldom in use at once.
MOST_SHAPES = 4


class DeviceSide:
    """As `clear_rt.side.Side`: tensors on the networks' device, latents in float32, frames in the networks' type.

    Networks may be called from several threads, one of which waits for the other. A call returns when its work is done.
    """

    def __init__(self, dit: BakedDit, encoder: EncoderStep, decoder: DecoderStep, *, by_kernels: bool) -> None:
        self._dit, self.device = dit, dit.time.device
        self.kept_as = f"cuda {dit.time.dtype} on {self.device.type} {'by kernels' if by_kernels else 'by references'}"
        self.graphs = Graphs(self.device)
        self._one_at_a_time = Lock()
        vae_ops: VaeOps = TorchVaeOps()
        picture_ops: PictureOps = TorchPictureOps()
        self._latent_ops: LatentOps = TorchLatentOps()
        if by_kernels:
            use_kernels(dit)
            vae_ops, picture_ops, self._latent_ops = KernelVaeOps(), KernelPictureOps(), KernelLatentOps()
        like, px = encoder.conv1.weight, encoder.config.latent_px
        self.pictures: Pictures = DevicePictures(like.new_empty(0), picture_ops, self.graphs)
        # By size in pixels, and as long as a coder of that size is there. Steps follow each other on one stream, and
        # each fills what it reads: all of a size share these.
        buffers: WeakValueDictionary[tuple[int, int], Buffers] = WeakValueDictionary()

        def shared(height_px: int, width_px: int) -> Buffers:
            found = buffers.get((height_px, width_px)) or Buffers(like)
            buffers[height_px, width_px] = found
            return found

        self._encoders = CoderRuns(
            lambda size: StreamedEncoder(encoder, vae_ops, shared(*size[1:])),
            encoder.config.latent_frames,
            self.graphs,
            like,
            "encode",
        )
        self._decoders = CoderRuns(
            lambda size: StreamedDecoder(decoder, vae_ops, shared(px * size[1], px * size[2])),
            1,
            self.graphs,
            like,
            "decode",
        )
        self._steps: Latest[tuple[int, ...], _Step] = Latest(MOST_SHAPES)

    def canvas(self, plan: WindowPlan, table: StepTable) -> Canvas:
        return DeviceCanvas(plan, table, self.device, self._latent_ops)

    def encode(self, frames: Tensor, caches: Caches | None) -> tuple[Tensor, Caches]:
        """frames [3, T, H, W] -> latent [C, h, w]."""
        latent, run = self._ran(lambda: self._encoders(frames, caches), frames.shape)
        return latent[:, 0].float(), run

    def decode(self, latent: Tensor, caches: Caches | None) -> tuple[Tensor, Caches]:
        """latent [C, h, w] -> frames [3, T, H, W]. Raises EngineError where there are values that are no numbers."""

        def decoded() -> tuple[Tensor, Caches, bool]:
            frames, run = self._decoders(latent[:, None], caches)
            return frames, run, bool(frames.isfinite().all())

        frames, run, is_finite = self._ran(decoded, latent.shape)
        if not is_finite:
            raise no_numbers()
        return frames, run

    def control(self, latents: Tensor) -> Tensor:
        """[C, L, h, w] in the transformer's type: their tokens, 25 times as large, are made anew in every step."""
        with told(latents.shape):
            return latents.to(self._dit.time.dtype, copy=True)

    def velocity(self, latents: Tensor, control: Tensor, row: int) -> Tensor:
        """[C, L, h, w], read-only and only until the next call."""
        return self._ran(lambda: self._step_of(latents.shape)(latents, control, row), latents.shape)

    def saved(self, caches: Caches) -> Iterator[Host]:
        """As `restart.KeepsCaches.saved`."""
        # Whose caches they are makes no difference to what they hold.
        return self._encoders.saved(caches)

    def restored(self, coder: Coder, arrays: Sequence[Host]) -> Caches:
        """As `restart.KeepsCaches.restored`."""
        coders = self._encoders if coder == "encoder" else self._decoders
        try:
            return self._ran(lambda: coders.restored(arrays), (len(arrays),))
        except EngineError as error:
            raise StateError(f"no {coder} goes on with the state: {error}") from None

    def to_host(self, array: Tensor) -> Host:
        """As `restart.Restartable.to_host`."""
        return as_bits(array)

    def from_host(self, array: Host) -> Tensor:
        """As `restart.Restartable.from_host`."""
        with told(array.shape):
            return from_bits(array, self.device)

    def _step_of(self, shape: tuple[int, ...]) -> _Step:
        return self._steps.of(shape, lambda: _Step(self._dit, shape, self.graphs))

    @torch.no_grad()
    def _ran(self, call: Callable[[], T], shape: tuple[int, ...]) -> T:
        with told(shape), self._one_at_a_time:
            found = call()
            if self.device.type == "cuda":
                torch.cuda.current_stream().synchronize()
            return found


class _Step:
    """One denoising step of windows of one shape [C, L, h, w]."""

    def __init__(self, dit: BakedDit, shape: tuple[int, ...], graphs: Graphs) -> None:
        like = dit.time
        self._latents, self._control = like.new_zeros(shape), like.new_zeros(shape)
        self._velocity = torch.zeros(shape, device=like.device)
        self._row = torch.zeros((), dtype=torch.int64, device=like.device)
        self._rows = torch.arange(len(like), device=like.device)

        def run() -> None:
            made = dit(self._latents[None], dit.control(self._control[None]), self._row)
            self._velocity.copy_(made[0])

        self._run = graphs.captured(run, "step")

    def __call__(self, latents: Tensor, control: Tensor, row: int) -> Tensor:
        self._latents.copy_(latents)
        self._control.copy_(control)
        self._row.copy_(self._rows[row])
        self._run()
        return self._velocity
