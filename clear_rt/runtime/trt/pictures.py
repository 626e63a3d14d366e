"""Pictures on the GPU by our compiled kernels: 4:2:0 in mode membrane. All others go by the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clear_rt.config import CompositeMode
from clear_rt.frames import Frame
from clear_rt.pictures import Floats, UInt8
from clear_rt.runtime.latest import Latest
from clear_rt.runtime.part_pictures import PartCrop, PartPaste, PartPictures
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.composite import STEPS
from clear_rt.runtime.slim.copies import copy
from clear_rt.runtime.slim.crossing import Buffer
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.yuv_to_input import yuv_to_input
from clear_rt.runtime.trt.device import Device
from clear_rt.runtime.trt.pasting import Pasting, planes_of

# Each region on the screen has one; those of regions that are gone are forgotten.
MOST_PASTINGS = 4
_Key = tuple[Any, ...]


class SlimPictures(PartPictures):
    """As `clear_rt.pictures.Pictures`; frames are fp32. Work runs on a lane of its own."""

    def __init__(self, device: Device, kernels: Kernels) -> None:
        self._device, self._kernels, self._lane = device, kernels, device.pictures
        self._pastings: Latest[_Key, Pasting] = Latest(MOST_PASTINGS)

    def _takes(self, frame: Frame) -> bool:
        return super()._takes(frame) and (frame.planes[1].step_x_px, frame.planes[1].step_y_px) == STEPS

    def _pastes(self, mode: CompositeMode) -> bool:
        return mode == "membrane"

    def _held(self, size_bytes: int) -> tuple[Buffer, UInt8]:
        buffer = self._device.crossing.buffer(size_bytes)
        return buffer, buffer.array

    def _sent(self, frames: Floats) -> DeviceArray:
        with self._lane.at_work([*frames.shape]):
            return self._device.crossing.to_device(self._lane.stream, np.ascontiguousarray(frames, np.float32))

    def _inputs(self, crops: Sequence[PartCrop]) -> DeviceArray:
        size, stream, memory = crops[0].size, self._lane.stream, self._device.memory
        shape = 3, len(crops), size.height_px, size.width_px
        with self._lane.at_work([*shape]):
            made = memory.empty(stream, shape, "fp32")
            one = memory.empty(stream, (shape[0], *shape[2:]), "fp32")
            for t, crop in enumerate(crops):
                samples = memory.empty(stream, (crop.packed.size_bytes,), "u8")
                crop.held.send(stream, samples)
                matrix = self._device.crossing.to_device(stream, crop.matrix)
                planes = planes_of(samples, crop.packed)
                yuv_to_input(self._kernels, stream, *planes, matrix, crop.x_px, crop.y_px, one)
                copy(stream, made[:, t], one)
        return made

    def _fetched(self, generated: Any) -> Floats:  # noqa: ANN401 - a DeviceArray
        with self._lane.at_work([*generated.shape]):
            found: Floats = self._device.crossing.to_host(self._lane.stream, generated)
        return found

    def _composite(self, paste: PartPaste, generated: DeviceArray) -> None:
        packed, rows_columns = paste.part.packed, paste.content.slices
        buffer = self._device.crossing.buffer(packed.size_bytes + paste.alpha.size)
        memory = buffer.array
        paste.part.pack(memory[: packed.size_bytes].view(packed.dtype))
        memory[packed.size_bytes :] = paste.alpha.reshape(-1)
        with self._lane.at_work([*generated.shape]):
            self._pasting(paste)(buffer, generated[:, rows_columns[0], rows_columns[1]])
        paste.part.unpack(buffer.array[: packed.size_bytes].view(packed.dtype))

    def _pasting(self, paste: PartPaste) -> Pasting:
        key = paste.part.packed, paste.box, paste.matrix.tobytes(), paste.bits, paste.shift
        return self._pastings.of(key, lambda: Pasting(self._device, self._kernels, paste))
