"""Pictures on the GPU by torch: colours converted and composited by our kernels, or by their references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clear_rt.pictures import Floats, UInt8
from clear_rt.runtime.cuda.crossing import pinned, to_device, to_host
from clear_rt.runtime.cuda.failures import told
from clear_rt.runtime.cuda.graphs import Graphs
from clear_rt.runtime.cuda.picture_ops import PictureOps, Planes
from clear_rt.runtime.part_pictures import PartCrop, PartPaste, PartPictures

_TYPES = {np.uint8: torch.uint8, np.uint16: torch.uint16}


class DevicePictures(PartPictures):
    """As `clear_rt.pictures.Pictures`; frames have the type and device of `like`. Work runs on a stream of its own."""

    def __init__(self, like: Tensor, ops: PictureOps, graphs: Graphs) -> None:
        self._device, self._dtype = like.device, like.dtype
        self._ops, self._graphs = ops, graphs
        is_gpu = like.device.type == "cuda"
        self._stream = torch.cuda.Stream(like.device) if is_gpu else None  # type: ignore[no-untyped-call]

    def _held(self, size_bytes: int) -> tuple[Tensor, UInt8]:
        memory = pinned(size_bytes, self._device)
        return memory, memory.numpy()

    def _sent(self, frames: Floats) -> Tensor:
        with self._launching(frames.shape):
            return to_device(frames, self._device).to(self._dtype)

    def _inputs(self, crops: Sequence[PartCrop]) -> Tensor:
        size = crops[0].size
        with self._launching((3, len(crops), size.height_px, size.width_px)):
            return torch.stack([self._input(crop) for crop in crops], dim=1)

    def _input(self, crop: PartCrop) -> Tensor:
        samples = crop.held.to(self._device, non_blocking=True).view(_TYPES[crop.packed.dtype])
        matrix = to_device(crop.matrix, self._device)
        planes = crop.packed.planes(samples)
        return self._ops.to_input(planes, matrix, crop.x_px, crop.y_px, crop.size, self._dtype)

    def _fetched(self, generated: Any) -> Floats:  # noqa: ANN401 - a tensor
        return to_host(generated)

    def _composite(self, paste: PartPaste, generated: Tensor) -> None:
        """Alpha and the samples go into one buffer, and these come back in it."""
        packed, alpha = paste.part.packed, paste.alpha
        size_bytes = packed.size_bytes
        buffer = pinned(size_bytes + alpha.size, self._device)
        host = buffer.numpy()
        samples = host[:size_bytes].view(packed.dtype)
        paste.part.pack(samples)
        host[size_bytes:] = alpha.reshape(-1)
        rows, columns = paste.content.slices
        with self._launching(generated.shape):
            there = buffer.to(self._device, non_blocking=True)
            planes: Planes = packed.planes(there[:size_bytes].view(_TYPES[packed.dtype]))
            self._ops.composite(
                planes,
                generated[:, rows, columns],
                there[size_bytes:].reshape(alpha.shape),
                to_device(paste.matrix, self._device),
                paste.box.x_px,
                paste.box.y_px,
                paste.bits,
                paste.shift,
                paste.mode,
            )
            buffer[:size_bytes].copy_(there[:size_bytes], non_blocking=True)
        paste.part.unpack(samples)

    @contextmanager
    def _launching(self, shape: Sequence[int]) -> Iterator[None]:
        """A stretch of work on the stream, which is done when it is left."""
        with told(shape), torch.no_grad():
            if self._stream is None:
                yield
                return
            with self._graphs.beside(), torch.cuda.stream(self._stream):
                yield
            self._stream.synchronize()
