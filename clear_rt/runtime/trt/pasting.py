"""Content composited into one box of parts of one size, captured as a graph: some hundred launches at 1280x192."""

from __future__ import annotations

import numpy as np

from clear_rt.picture_parts import PackedPlanes
from clear_rt.runtime.part_pictures import PartPaste
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.composite import Composite
from clear_rt.runtime.slim.copies import copy
from clear_rt.runtime.slim.crossing import Buffer
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.stream import Stream
from clear_rt.runtime.trt.device import Device

Planes = tuple[DeviceArray, DeviceArray, DeviceArray]


def planes_of(samples: DeviceArray, packed: PackedPlanes) -> Planes:
    """Luma, Cb and Cr in u8 [size_bytes]."""
    dtype = "u8" if packed.dtype is np.uint8 else "u16"
    return packed.planes(samples.viewed((packed.samples,), dtype))


class Pasting:
    """Pastes like `paste` but for samples, alpha and content, one after the other on the lane of pictures."""

    def __init__(self, device: Device, kernels: Kernels, paste: PartPaste) -> None:
        packed, box, stream = paste.part.packed, paste.box, device.pictures.stream
        size_bytes, alpha = packed.size_bytes, (box.height_px, box.width_px)
        memory = device.memory
        self._stream = stream
        self._there = memory.zeros(stream, (size_bytes + alpha[0] * alpha[1],), "u8")
        self._samples = self._there[:size_bytes]
        self._content = memory.zeros(stream, (3, *alpha), "fp32")
        matrix = device.crossing.to_device(stream, paste.matrix)
        planes = planes_of(self._samples, packed)
        composite = Composite(kernels, memory, stream, box)
        under = self._there[size_bytes:].viewed(alpha)

        def work(stream: Stream) -> None:
            composite(stream, *planes, self._content, under, matrix, paste.bits, paste.shift)

        self._run = device.pictures.captured(work, "composite")

    def __call__(self, buffer: Buffer, content: DeviceArray) -> None:
        """Samples and alpha one after the other in `buffer`, samples back in it; content fp32 [3, h, w]."""
        buffer.send(self._stream, self._there)
        copy(self._stream, self._content, content)
        self._run(self._stream)
        buffer.fetch(self._stream, self._samples)
