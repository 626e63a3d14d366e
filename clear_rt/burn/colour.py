"""RGB to the sample values of a frame's own matrix, range and bit depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clear_rt.frames.info import VideoInfo

Float = npt.NDArray[np.float32]

_BT601, _BT709 = (0.299, 0.114), (0.2126, 0.0722)
# Kr and Kb by H.273 code point; the same choices as clear_rt.frames makes on the way to RGB.
_KR_KB = {
    1: _BT709,
    4: (0.30, 0.11),
    5: _BT601,
    6: _BT601,
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_HD_HEIGHT_PX = 720
_FULL_RANGE = 2


@dataclass(frozen=True, slots=True)
class SampleColour:
    """How a picture writes its colours down: `kr`, `kb` of the luma equation, and whether samples use full range."""

    kr: float
    kb: float
    full_range: bool

    @staticmethod
    def of(info: VideoInfo) -> SampleColour:
        """Of a video; unspecified matrices are BT.709 from 720 rows up and BT.601 below."""
        unspecified = _BT709 if info.stored_height_px >= _HD_HEIGHT_PX else _BT601
        kr, kb = _KR_KB.get(info.colour.matrix, unspecified)
        return SampleColour(kr, kb, info.colour.range == _FULL_RANGE or info.pixel_format.startswith("yuvj"))

    def yuv(self, rgb: npt.NDArray[np.uint8], bits: int) -> Float:
        """Y, U, V sample values (not yet rounded) of uint8 [..., 3]: float32 [..., 3] in 0 .. 2**bits - 1."""
        red, green, blue = (rgb[..., i].astype(np.float32) / 255 for i in range(3))
        luma = self.kr * red + (1 - self.kr - self.kb) * green + self.kb * blue
        chroma = (blue - luma) / (2 - 2 * self.kb), (red - luma) / (2 - 2 * self.kr)
        peak, step = 2**bits - 1, 2.0 ** (bits - 8)
        luma_scale, luma_offset, chroma_scale = (
            (peak, 0, peak) if self.full_range else (219 * step, 16 * step, 224 * step)
        )
        parts = luma_offset + luma_scale * luma, *(2 ** (bits - 1) + chroma_scale * part for part in chroma)
        clipped: Float = np.clip(np.stack(parts, axis=-1), 0, peak).astype(np.float32)
        return clipped


def rgb_samples(rgb: npt.NDArray[np.uint8], bits: int) -> Float:
    """R, G, B sample values of uint8 [..., 3] in a full-range RGB format of `bits` bits: float32 [..., 3]."""
    return rgb.astype(np.float32) * np.float32((2**bits - 1) / 255)
