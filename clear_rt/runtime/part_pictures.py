"""Pictures whose parts cross to a GPU in the source's own samples, where colours are converted and composited.

Crops that are scaled, drafts, and formats that kernels do not read go by the host. Source: design section 4.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt.colour import input_matrix, output_matrix
from clear_rt.config import CompositeConfig, CompositeMode
from clear_rt.crops import Placement
from clear_rt.frames import Frame
from clear_rt.matte_planes import luma_alpha
from clear_rt.picture_parts import PackedPlanes, PicturePart, crosses, part_of
from clear_rt.pictures import Crop, Floats, HostPictures, Key, UInt8
from clear_rt.shapes import Box, Size

# Bilinear interpolation of chroma reaches one cell further.
_REACH_CELLS = 1


class PartCrop(NamedTuple):
    """A crop of `size` from pixel (x_px, y_px) of a packed part on; what lies beyond repeats its edge.

    `held` is memory of the host that the GPU copies from, as `_held` made it.
    """

    packed: PackedPlanes
    held: Any
    matrix: npt.NDArray[np.float32]
    x_px: int
    y_px: int
    size: Size


class PartPaste(NamedTuple):
    """What is pasted: `content` of the generated crop, at `box` of the part, under alpha uint8 [h, w] of that size."""

    part: PicturePart
    alpha: UInt8
    matrix: npt.NDArray[np.float32]
    content: Box
    box: Box
    bits: int
    shift: int
    mode: CompositeMode


class PartPictures(HostPictures, ABC):
    """As `clear_rt.pictures.Pictures`; the hooks below are what a library of arrays does with the parts."""

    def cut(self, frame: Frame, matte: UInt8 | None, placements: Mapping[Key, Placement]) -> dict[Key, Crop]:
        """Packed parts of the picture where they may cross, else as `HostPictures.cut`."""
        may_cross = matte is None and self._takes(frame)
        crossing = {key: placement for key, placement in placements.items() if may_cross and not placement.is_scaled}
        rest = {key: placement for key, placement in placements.items() if key not in crossing}
        crops = super().cut(frame, matte, rest)
        return crops | {key: self._packed(frame, placement) for key, placement in crossing.items()}

    def _packed(self, frame: Frame, placement: Placement) -> PartCrop:
        part, luma, codes = part_of(frame, placement.box, _REACH_CELLS), frame.planes[0], frame.codes
        packed, x_px, y_px = part.packed, placement.box.x_px - part.box.x_px, placement.box.y_px - part.box.y_px
        held, memory = self._held(packed.size_bytes)
        part.pack(memory.view(packed.dtype))
        # Zeros below the bits count as bits.
        matrix = input_matrix(luma.bits + luma.shift, *codes)
        return PartCrop(packed, held, matrix.astype(np.float32), x_px, y_px, placement.profile)

    def shown(self, crops: Sequence[Crop]) -> Any:  # noqa: ANN401
        """[3, T, H, W] on the GPU."""
        return self._inputs(crops) if isinstance(crops[0], PartCrop) else self._sent(super().shown(crops))

    def picture(self, generated: Any) -> Floats:  # noqa: ANN401
        """As `Pictures.picture`."""
        return super().picture(self._fetched(generated))

    def pasted(
        self,
        frame: Frame,
        placement: Placement,
        matte: UInt8,
        config: CompositeConfig,
        generated: Any,  # noqa: ANN401
    ) -> Frame:
        """In one copy there and one back where the picture may cross, else as `HostPictures.pasted`."""
        if placement.is_scaled or not self._takes(frame) or not self._pastes(config.mode):
            return super().pasted(frame, placement, matte, config, generated)
        alpha = luma_alpha(matte, placement.picture, placement.target)
        if config.mode != "off" and not alpha.any():
            return frame
        edited = frame.edited()
        target, crop, luma = placement.target, placement.box, edited.planes[0]
        part = part_of(edited, target)
        size = target.width_px, target.height_px
        paste = PartPaste(
            part,
            alpha,
            output_matrix(luma.bits, *edited.codes).astype(np.float32),
            Box(target.x_px - crop.x_px, target.y_px - crop.y_px, *size),
            Box(target.x_px - part.box.x_px, target.y_px - part.box.y_px, *size),
            luma.bits,
            luma.shift,
            config.mode,
        )
        self._composite(paste, generated)
        return edited

    def _takes(self, frame: Frame) -> bool:
        """Whether kernels read the picture."""
        return crosses(frame)

    def _pastes(self, mode: CompositeMode) -> bool:
        """Whether kernels composite in that mode."""
        return True

    @abstractmethod
    def _held(self, size_bytes: int) -> tuple[Any, UInt8]:
        """Memory of the host that the GPU copies from, and that memory as an array."""

    @abstractmethod
    def _inputs(self, crops: Sequence[PartCrop]) -> Any:  # noqa: ANN401
        """What `shown` gives, of parts."""

    @abstractmethod
    def _sent(self, frames: Floats) -> Any:  # noqa: ANN401
        """What `shown` gives, of frames float32 [3, T, H, W] of the host."""

    @abstractmethod
    def _fetched(self, generated: Any) -> Floats:  # noqa: ANN401
        """A generated crop float32 [3, H, W] on the host."""

    @abstractmethod
    def _composite(self, paste: PartPaste, generated: Any) -> None:  # noqa: ANN401
        """Writes into the samples of the part."""
