"""Pictures on the GPU: parts of them cross in the source's own samples, colours are converted and composited there.

Crops that are scaled, drafts, and formats that kernels do not read go by the host. Source: design section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clear_rt.colour import input_matrix, output_matrix
from clear_rt.config import CompositeConfig
from clear_rt.crops import Placement
from clear_rt.frames import Frame
from clear_rt.matte_planes import luma_alpha
from clear_rt.picture_parts import PackedPlanes, crosses, part_of
from clear_rt.pictures import Crop, Floats, HostPictures, Key, UInt8
from clear_rt.runtime.cuda.crossing import pinned, to_device, to_host
from clear_rt.runtime.cuda.failures import told
from clear_rt.runtime.cuda.graphs import Graphs
from clear_rt.runtime.cuda.picture_ops import PictureOps, Planes
from clear_rt.shapes import Size

# Bilinear interpolation of chroma reaches one cell further.
_REACH_CELLS = 1
_TYPES = {np.uint8: torch.uint8, np.uint16: torch.uint16}


class _PartCrop(NamedTuple):
    """A crop of `size` from pixel (x_px, y_px) of a packed part on; what lies beyond repeats its edge."""

    packed: PackedPlanes
    samples: Tensor
    matrix: npt.NDArray[np.float32]
    x_px: int
    y_px: int
    size: Size


class DevicePictures(HostPictures):
    """As `clear_rt.pictures.Pictures`; frames have the type and device of `like`. Work runs on a stream of its own."""

    def __init__(self, like: Tensor, ops: PictureOps, graphs: Graphs) -> None:
        self._device, self._dtype = like.device, like.dtype
        self._ops, self._graphs = ops, graphs
        is_gpu = like.device.type == "cuda"
        self._stream = torch.cuda.Stream(like.device) if is_gpu else None  # type: ignore[no-untyped-call]

    def cut(self, frame: Frame, matte: UInt8 | None, placements: Mapping[Key, Placement]) -> dict[Key, Crop]:
        """Packed parts of the picture where they may cross, else as `HostPictures.cut`."""
        may_cross = matte is None and crosses(frame)
        crossing = {key: placement for key, placement in placements.items() if may_cross and not placement.is_scaled}
        rest = {key: placement for key, placement in placements.items() if key not in crossing}
        crops = super().cut(frame, matte, rest)
        return crops | {key: self._packed(frame, placement) for key, placement in crossing.items()}

    def _packed(self, frame: Frame, placement: Placement) -> _PartCrop:
        part, luma, codes = part_of(frame, placement.box, _REACH_CELLS), frame.planes[0], frame.codes
        packed, x_px, y_px = part.packed, placement.box.x_px - part.box.x_px, placement.box.y_px - part.box.y_px
        samples = pinned(packed.size_bytes, self._device)
        part.pack(samples.numpy().view(packed.dtype))
        # Zeros below the bits count as bits.
        matrix = input_matrix(luma.bits + luma.shift, *codes)
        return _PartCrop(packed, samples, matrix.astype(np.float32), x_px, y_px, placement.profile)

    def shown(self, crops: Sequence[Crop]) -> Any:  # noqa: ANN401
        """A tensor [3, T, H, W] in the networks' type."""
        if not isinstance(crops[0], _PartCrop):
            frames = super().shown(crops)
            with self._launching(frames.shape):
                return to_device(frames, self._device).to(self._dtype)
        size = crops[0].size
        with self._launching((3, len(crops), size.height_px, size.width_px)):
            return torch.stack([self._input(crop) for crop in crops], dim=1)

    def _input(self, crop: _PartCrop) -> Tensor:
        samples = crop.samples.to(self._device, non_blocking=True).view(_TYPES[crop.packed.dtype])
        matrix = to_device(crop.matrix, self._device)
        planes = crop.packed.planes(samples)
        return self._ops.to_input(planes, matrix, crop.x_px, crop.y_px, crop.size, self._dtype)

    def picture(self, generated: Tensor) -> Floats:
        return super().picture(to_host(generated))

    def pasted(
        self, frame: Frame, placement: Placement, matte: UInt8, config: CompositeConfig, generated: Tensor
    ) -> Frame:
        """In one copy there and one back where the picture may cross, else as `HostPictures.pasted`."""
        if placement.is_scaled or not crosses(frame):
            return super().pasted(frame, placement, matte, config, generated)
        alpha = luma_alpha(matte, placement.picture, placement.target)
        if config.mode != "off" and not alpha.any():
            return frame
        edited = frame.edited()
        self._composite(edited, placement, alpha, config, generated)
        return edited

    def _composite(
        self, edited: Frame, placement: Placement, alpha: UInt8, config: CompositeConfig, generated: Tensor
    ) -> None:
        """Alpha and the samples go into one buffer, and these come back in it."""
        target, crop, luma, codes = placement.target, placement.box, edited.planes[0], edited.codes
        part = part_of(edited, target)
        size_bytes = part.packed.size_bytes
        buffer = pinned(size_bytes + alpha.size, self._device)
        host = buffer.numpy()
        samples = host[:size_bytes].view(part.packed.dtype)
        part.pack(samples)
        host[size_bytes:] = alpha.reshape(-1)
        matrix = output_matrix(luma.bits, *codes)
        y_px, x_px = target.y_px - crop.y_px, target.x_px - crop.x_px
        with self._launching(generated.shape):
            there = buffer.to(self._device, non_blocking=True)
            planes: Planes = part.packed.planes(there[:size_bytes].view(_TYPES[part.packed.dtype]))
            self._ops.composite(
                planes,
                generated[:, y_px : y_px + target.height_px, x_px : x_px + target.width_px],
                there[size_bytes:].reshape(alpha.shape),
                to_device(matrix.astype(np.float32), self._device),
                target.x_px - part.box.x_px,
                target.y_px - part.box.y_px,
                luma.bits,
                luma.shift,
                config.mode,
            )
            buffer[:size_bytes].copy_(there[:size_bytes], non_blocking=True)
        part.unpack(samples)

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
